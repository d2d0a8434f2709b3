//! Register clobber: every entry that is written in assembly is called with poisoned registers, and what the ABI says is kept must be kept.
//! A frame in assembly poisons the callee-saved registers, the rounding modes of SSE and x87 and the stack above the call, calls, and records what came back.
//! Each entry is driven over hits, refills, flushes, first calls of a thread and large blocks, so that both ways through it are seen.

use crate::support::verdict::{Verdict, test};
use libtest_mimic::Trial;

#[cfg(target_arch = "x86_64")]
mod frame {
    //! The assembly frame and what it records.
    use std::sync::{Mutex, MutexGuard};

    /// Read and written by the assembly: offsets are multiples of 8 in this order.
    #[repr(C)]
    #[derive(Default)]
    pub struct Record {
        function: usize,       // 0
        arguments: [usize; 3], // 8
        result: usize,         // 32
        kept: [u64; 6],        // 40: rbx rbp r12 r13 r14 r15 after the call
        stack_before: u64,     // 88
        stack_after: u64,      // 96
        flags: u64,            // 104
        mxcsr: u32,            // 112
        x87: u32,              // 116
        canaries: u64,         // 120: how many words above the call are intact
        own_mxcsr: u32,        // 128
        own_x87: u32,          // 132
        poison_mxcsr: u32,     // 136
        poison_x87: u32,       // 140
        tag: u64,              // 144: the x87 tag word after the call
    }

    const _: () = assert!(
        std::mem::offset_of!(Record, canaries) == 120 && std::mem::offset_of!(Record, tag) == 144
    );

    const POISON: u64 = 0xB17A_0000_DEAD_0000;
    /// All exceptions masked, round toward zero, flush to zero.
    const MXCSR: u32 = 0xFF80;
    /// All exceptions masked, double precision, round up.
    const X87: u32 = 0x0A7F;

    static RECORD: Mutex<()> = Mutex::new(());

    unsafe extern "C" {
        static mut bitmag_test_record: Record;
        fn bitmag_test_call();
    }

    // The record is a static, so that it is found again whatever the callee did to the registers.
    std::arch::global_asm!(
        ".pushsection .bss.bitmag_test_record,\"aw\",@nobits",
        ".balign 64",
        ".globl bitmag_test_record",
        ".hidden bitmag_test_record",
        "bitmag_test_record: .zero 192",
        ".popsection",
        ".text",
        ".globl bitmag_test_call",
        ".hidden bitmag_test_call",
        "bitmag_test_call:",
        "push rbx; push rbp; push r12; push r13; push r14; push r15",
        // 16 canaries and 8 bytes, so that the stack is aligned at the call
        "sub rsp, 136",
        "mov ecx, 16",
        "mov rax, {poison}",
        "2: mov [rsp + rcx*8 - 8], rax",
        "dec ecx",
        "jnz 2b",
        "lea r11, [rip + bitmag_test_record]",
        "mov [r11 + 88], rsp",
        "stmxcsr [r11 + 128]",
        "fnstcw [r11 + 132]",
        "ldmxcsr [r11 + 136]",
        "fldcw [r11 + 140]",
        "mov rax, [r11]",
        "mov rdi, [r11 + 8]",
        "mov rsi, [r11 + 16]",
        "mov rdx, [r11 + 24]",
        "mov rbx, {poison}",
        "lea rbp, [rbx + 1]",
        "lea r12, [rbx + 2]",
        "lea r13, [rbx + 3]",
        "lea r14, [rbx + 4]",
        "lea r15, [rbx + 5]",
        // what the callee may not rely on
        "lea rcx, [rbx + 6]",
        "lea r8, [rbx + 7]",
        "lea r9, [rbx + 8]",
        "lea r10, [rbx + 9]",
        "lea r11, [rbx + 10]",
        "pcmpeqd xmm0, xmm0",
        "movdqa xmm1, xmm0",
        "movdqa xmm7, xmm0",
        "movdqa xmm15, xmm0",
        "call rax",
        "lea rcx, [rip + bitmag_test_record]",
        "mov [rcx + 32], rax",
        "mov [rcx + 40], rbx",
        "mov [rcx + 48], rbp",
        "mov [rcx + 56], r12",
        "mov [rcx + 64], r13",
        "mov [rcx + 72], r14",
        "mov [rcx + 80], r15",
        "mov [rcx + 96], rsp",
        "mov rsp, [rcx + 88]",
        "pushfq",
        "pop qword ptr [rcx + 104]",
        "cld",
        "stmxcsr [rcx + 112]",
        "fnstcw [rcx + 116]",
        "sub rsp, 32",
        "fnstenv [rsp]",
        "movzx eax, word ptr [rsp + 8]",
        "mov [rcx + 144], rax",
        "add rsp, 32",
        "fninit",
        "ldmxcsr [rcx + 128]",
        "fldcw [rcx + 132]",
        // the canaries
        "xor eax, eax",
        "mov rdx, {poison}",
        "xor esi, esi",
        "3: cmp [rsp + rsi*8], rdx",
        "jne 4f",
        "inc eax",
        "4: inc esi",
        "cmp esi, 16",
        "jb 3b",
        "mov [rcx + 120], rax",
        "add rsp, 136",
        "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
        "ret",
        poison = const POISON,
    );

    /// Calls in the poisoned frame; a message when something was not kept.
    pub fn call(function: usize, arguments: [usize; 3]) -> Result<usize, String> {
        let _alone: MutexGuard<()> = RECORD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SAFETY: the lock makes the record ours; the function is one with up to three integer arguments.
        unsafe {
            let record = &raw mut bitmag_test_record;
            record.write(Record {
                function,
                arguments,
                poison_mxcsr: MXCSR,
                poison_x87: X87,
                ..Record::default()
            });
            bitmag_test_call();
            let record = &*record;
            for (name, at) in
                [("rbx", 0), ("rbp", 1), ("r12", 2), ("r13", 3), ("r14", 4), ("r15", 5)]
            {
                if record.kept[at] != POISON + at as u64 {
                    return Err(format!("{name} came back as {:#x}", record.kept[at]));
                }
            }
            if record.stack_after != record.stack_before {
                return Err(format!(
                    "rsp moved by {}",
                    record.stack_after.wrapping_sub(record.stack_before) as i64
                ));
            }
            if record.flags & (1 << 10) != 0 {
                return Err("the direction flag came back set".into());
            }
            // The lowest six bits of MXCSR are status, which a callee may change.
            if record.mxcsr & !0x3F != MXCSR & !0x3F {
                return Err(format!("MXCSR came back as {:#x}", record.mxcsr));
            }
            if record.x87 as u16 != X87 as u16 {
                return Err(format!("the x87 control word came back as {:#x}", record.x87));
            }
            if record.tag as u16 != 0xFFFF {
                return Err(format!("the x87 stack came back in use: tag word {:#x}", record.tag));
            }
            if record.canaries != 16 {
                return Err(format!(
                    "{} words above the call were overwritten",
                    16 - record.canaries
                ));
            }
            Ok(record.result)
        }
    }

    // Functions that break one promise each: the test of the test.
    std::arch::global_asm!(
        ".text",
        ".globl bitmag_test_breaks_rbx",
        ".hidden bitmag_test_breaks_rbx",
        "bitmag_test_breaks_rbx: xor ebx, ebx; ret",
        ".globl bitmag_test_breaks_r15",
        ".hidden bitmag_test_breaks_r15",
        "bitmag_test_breaks_r15: inc r15; ret",
        ".globl bitmag_test_breaks_direction",
        ".hidden bitmag_test_breaks_direction",
        "bitmag_test_breaks_direction: std; ret",
        ".globl bitmag_test_breaks_stack",
        ".hidden bitmag_test_breaks_stack",
        "bitmag_test_breaks_stack: mov qword ptr [rsp + 16], 0; ret",
        ".globl bitmag_test_breaks_rsp",
        ".hidden bitmag_test_breaks_rsp",
        "bitmag_test_breaks_rsp: ret 16",
        ".globl bitmag_test_breaks_mxcsr",
        ".hidden bitmag_test_breaks_mxcsr",
        "bitmag_test_breaks_mxcsr: mov dword ptr [rsp - 8], 0x1f80; ldmxcsr [rsp - 8]; ret",
        ".globl bitmag_test_breaks_x87",
        ".hidden bitmag_test_breaks_x87",
        "bitmag_test_breaks_x87: fninit; ret",
        ".globl bitmag_test_breaks_tag",
        ".hidden bitmag_test_breaks_tag",
        "bitmag_test_breaks_tag: fld1; ret",
    );

    unsafe extern "C" {
        fn bitmag_test_breaks_rbx();
        fn bitmag_test_breaks_r15();
        fn bitmag_test_breaks_direction();
        fn bitmag_test_breaks_stack();
        fn bitmag_test_breaks_rsp();
        fn bitmag_test_breaks_mxcsr();
        fn bitmag_test_breaks_x87();
        fn bitmag_test_breaks_tag();
    }

    /// What the frame must find.
    pub fn broken() -> [(usize, &'static str); 8] {
        [
            (bitmag_test_breaks_rbx as *const () as usize, "rbx"),
            (bitmag_test_breaks_r15 as *const () as usize, "r15"),
            (bitmag_test_breaks_direction as *const () as usize, "direction"),
            (bitmag_test_breaks_stack as *const () as usize, "overwritten"),
            (bitmag_test_breaks_rsp as *const () as usize, "rsp"),
            (bitmag_test_breaks_mxcsr as *const () as usize, "MXCSR"),
            (bitmag_test_breaks_x87 as *const () as usize, "x87"),
            (bitmag_test_breaks_tag as *const () as usize, "tag word"),
        ]
    }
}

#[cfg(target_arch = "x86_64")]
mod entries {
    //! The entries under the frame.
    use super::frame::call;
    use crate::support::c_api::CApi;
    use crate::{RUST, c_face, ensure};
    use std::alloc::{GlobalAlloc, Layout};

    const SIZES: [usize; 14] =
        [1, 16, 24, 64, 500, 1023, 1024, 1025, 3000, 5000, 32_000, 32_768, 32_769, 400_000];

    type Alloc<'a> = (&'a str, usize, fn(usize) -> [usize; 3]);
    type Free<'a> = (&'a str, usize, fn(usize, usize) -> [usize; 3]);

    /// Enough blocks of a size that magazines run empty and full.
    fn drive(allocs: &[Alloc], frees: &[Free]) -> Result<(), String> {
        for size in SIZES {
            for (turn, (alloc_name, alloc, alloc_arguments)) in allocs.iter().enumerate() {
                let (free_name, free, free_arguments) = &frees[turn % frees.len()];
                let mut blocks = Vec::new();
                for _ in 0..if size > 32_768 { 3 } else { 150 } {
                    let block = call(*alloc, alloc_arguments(size))
                        .map_err(|why| format!("{alloc_name}({size}): {why}"))?;
                    ensure!(block != 0, "{alloc_name}({size}): NULL");
                    blocks.push(block);
                }
                for (turn, block) in blocks.into_iter().enumerate() {
                    // Some frees in pairs with allocations, so that a hit follows a hit.
                    call(*free, free_arguments(block, size))
                        .map_err(|why| format!("{free_name} of {size} bytes: {why}"))?;
                    if turn % 3 == 0 {
                        let block = call(*alloc, alloc_arguments(size))
                            .map_err(|why| format!("{alloc_name}({size}): {why}"))?;
                        call(*free, free_arguments(block, size))
                            .map_err(|why| format!("{free_name} of {size} bytes: {why}"))?;
                    }
                }
            }
        }
        Ok(())
    }

    macro_rules! address {
        ($c:expr, $field:ident) => {
            $c.$field.map(|function| function as usize).unwrap_or_default()
        };
    }

    fn drive_c(c: &CApi) -> Result<(), String> {
        let allocs: [Alloc; 6] = [
            ("malloc", address!(c, malloc), |size| [size, 0, 0]),
            ("calloc", address!(c, calloc), |size| [1, size, 0]),
            ("realloc", address!(c, realloc), |size| [0, size, 0]),
            ("operator new", address!(c, new), |size| [size, 0, 0]),
            ("new[] nothrow", address!(c, new_array_nothrow), |size| [size, 0, 0]),
            ("reallocarray", address!(c, reallocarray), |size| [0, 1, size]),
        ];
        let frees: [Free; 6] = [
            ("free", address!(c, free), |block, _| [block, 0, 0]),
            ("free_sized", address!(c, free_sized), |block, size| [block, size, 0]),
            ("operator delete", address!(c, delete), |block, _| [block, 0, 0]),
            ("sized delete", address!(c, delete_sized), |block, size| [block, size, 0]),
            ("sized delete[]", address!(c, delete_array_sized), |block, size| [block, size, 0]),
            ("cfree", address!(c, cfree), |block, _| [block, 0, 0]),
        ];
        drive(&allocs, &frees)?;
        drive(&allocs[..1], &frees[..1])?;
        drive(&allocs[..1], &frees[1..2])?;
        let aligned: [Alloc; 2] = [
            ("aligned_alloc", address!(c, aligned_alloc), |size| [64, size, 0]),
            ("aligned new", address!(c, new_aligned), |size| [size, 64, 0]),
        ];
        let aligned_frees: [Free; 2] = [
            ("free_aligned_sized", address!(c, free_aligned_sized), |block, size| {
                [block, 64, size]
            }),
            ("sized aligned delete", address!(c, delete_sized_aligned), |block, size| {
                [block, size, 64]
            }),
        ];
        drive(&aligned, &aligned_frees)
    }

    /// The C face on this thread and, for the first call of a thread, on fresh ones.
    pub fn c() -> Result<(), String> {
        let c = c_face()?;
        std::thread::scope(|scope| {
            scope.spawn(|| drive_c(&c)).join().unwrap_or_else(|_| Err("a thread panicked".into()))
        })?;
        drive_c(&c)
    }

    extern "C" fn rust_alloc(size: usize, align: usize) -> *mut u8 {
        // SAFETY: the sizes and alignments of this test are fine.
        unsafe { RUST.allocator.alloc(Layout::from_size_align_unchecked(size, align)) }
    }

    extern "C" fn rust_alloc_constant() -> *mut u8 {
        // SAFETY: a fine layout.
        unsafe { RUST.allocator.alloc(const { Layout::new::<[u64; 8]>() }) }
    }

    extern "C" fn rust_dealloc(block: *mut u8, size: usize, align: usize) {
        // SAFETY: the test frees what it allocated.
        unsafe { RUST.allocator.dealloc(block, Layout::from_size_align_unchecked(size, align)) }
    }

    extern "C" fn rust_dealloc_constant(block: *mut u8) {
        // SAFETY: the test frees what it allocated.
        unsafe { RUST.allocator.dealloc(block, const { Layout::new::<[u64; 8]>() }) }
    }

    /// The Rust face, called and inlined.
    pub fn rust() -> Result<(), String> {
        let allocs: [Alloc; 2] = [
            ("alloc", rust_alloc as *const () as usize, |size| [size, 8, 0]),
            ("aligned alloc", rust_alloc as *const () as usize, |size| {
                [size.next_multiple_of(64), 64, 0]
            }),
        ];
        let frees: [Free; 2] = [
            ("dealloc", rust_dealloc as *const () as usize, |block, size| [block, size, 8]),
            ("aligned dealloc", rust_dealloc as *const () as usize, |block, size| {
                [block, size.next_multiple_of(64), 64]
            }),
        ];
        let constant: [Alloc; 1] =
            [("constant alloc", rust_alloc_constant as *const () as usize, |_| [0; 3])];
        let constant_frees: [Free; 1] =
            [("constant dealloc", rust_dealloc_constant as *const () as usize, |block, _| {
                [block, 0, 0]
            })];
        let all = || drive(&allocs, &frees).and_then(|()| drive(&constant, &constant_frees));
        std::thread::scope(|scope| {
            scope.spawn(all).join().unwrap_or_else(|_| Err("a thread panicked".into()))
        })?;
        all()
    }
}

#[cfg(target_arch = "x86_64")]
pub fn tests() -> Vec<Trial> {
    vec![
        test("registers::finds_what_is_broken", || {
            for (function, word) in frame::broken() {
                match frame::call(function, [0; 3]) {
                    Err(why) if why.contains(word) => {}
                    other => return Err(format!("{word}: {other:?}")),
                }
            }
            Ok(Verdict::Holds)
        }),
        test("registers::c_face", || entries::c().map(|()| Verdict::Holds)),
        test("registers::rust_face", || entries::rust().map(|()| Verdict::Holds)),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
pub fn tests() -> Vec<Trial> {
    vec![test("registers", || {
        Ok(Verdict::NotHere("the assembly entries are those of x86_64".into()))
    })]
}
