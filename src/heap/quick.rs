//! The rows of bursts under one short hold of the home heap's lock.
//!
//! What `row::take` and `row::give` do, with the lock, the counters and the clock of sweeps around them, for a constant number of at most 31
//! blocks. On x86_64 each is one piece of assembly that needs five registers besides its arguments, where the
//! compiler needs half as many instructions more and saves registers for them. The twins in Rust serve every other target.

cfg_if::cfg_if! {
    if #[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(loom)))] {
        use crate::hit::WINDOW;
        use crate::layout::{Counters, Heap, NO_UNIT, Record, SLAB_WORDS, Window};
        use crate::size_class::Class;
        use super::row::Row;
        use core::arch::asm;
        use core::mem::offset_of;

        /// The highest first bit of a row in the bitmap's last 8 bytes or before. Behind it, where only blocks of 16 bytes
        /// are, the general way serves.
        const LAST: usize = 64 * (SLAB_WORDS - 1) + 7;

        /// Takes `COUNT` neighbours from where the current slab guesses a row; the address of the lowest. `None`, and nothing
        /// done, if the heap's lock is taken, somebody forks, or there is no such row. `token` is the calling thread's.
        #[inline(always)]
        pub(super) fn take<const COUNT: usize>(home: u32, class: Class, token: usize) -> Option<usize> {
            let first: usize;
            // SAFETY: a thread's heap exists, current slabs are below the bound, and only the lock's holder writes what is
            // written here, the lock first and last. Locked instructions and plain stores are what the atomics of the twin
            // become. The 8 bytes lie within `local`: who reads them without the lock takes one word at a time to name a fault.
            unsafe {
                asm!(
                    "imul {heap}, {heap}, {heap_bytes}",
                    "add {heap}, qword ptr [rip + {window} + {heaps}]",
                    "cmp qword ptr [rip + {window} + {forking}], 0",
                    "jne 4f",
                    "xor eax, eax",                         // the lock as it must be
                    "lock cmpxchg qword ptr [{heap}], {token}",
                    "jne 4f",
                    "mov eax, dword ptr [{heap} + 4*{class} + {current}]",
                    "cmp eax, {no_unit}",
                    "je 3f",
                    "imul {record}, rax, {record_bytes}",
                    "add {record}, qword ptr [rip + {window} + {records}]",
                    "mov ecx, dword ptr [{record} + {row}]",
                    "lea eax, [rcx + {count}]",             // beyond the slab where there is no guess
                    "cmp eax, dword ptr [{record} + {blocks}]",
                    "ja 3f",
                    "cmp ecx, {last}",
                    "ja 3f",
                    "mov eax, ecx",                         // the byte with the first bit, and the bit in it
                    "shr eax, 3",
                    "and ecx, 7",
                    "mov {mask:e}, {bits}",
                    "shl {mask}, cl",
                    "mov rcx, qword ptr [{record} + rax + {local}]",
                    "xor rcx, {mask}",                      // all were set: none is now
                    "test rcx, {mask}",
                    "jne 3f",
                    "mov qword ptr [{record} + rax + {local}], rcx",
                    "mov eax, dword ptr [{heap} + 4*{class} + {current}]", // once more: no register was left to keep it in
                    "shl rax, {unit_shift}",
                    "add rax, qword ptr [rip + {window} + {base}]",
                    "mov ecx, dword ptr [{record} + {row}]",
                    "imul ecx, {class:e}",                  // in steps of 16 bytes
                    "shl ecx, 4",
                    "add rax, rcx",
                    "add dword ptr [{record} + {row}], {count}",
                    "add dword ptr [{record} + {used}], {count}",
                    "lea rcx, [{class} + 4*{class}]",       // five counters to a class
                    "inc qword ptr [{heap} + 8*rcx + {refills}]",
                    "add qword ptr [{heap} + 8*rcx + {refilled}], {count}",
                    "mov qword ptr [{heap}], 0",
                    "jmp 5f",
                    "3:",
                    "mov qword ptr [{heap}], 0",
                    "4:",
                    "xor eax, eax",
                    "5:",
                    heap = inout(reg) home as usize => _,
                    class = in(reg) class.index(),
                    token = in(reg) token,
                    record = out(reg) _,
                    mask = out(reg) _,
                    out("rax") first,
                    out("rcx") _,
                    window = sym WINDOW,
                    heap_bytes = const size_of::<Heap>(),
                    record_bytes = const size_of::<Record>(),
                    heaps = const offset_of!(Window, heaps),
                    forking = const offset_of!(Window, forking),
                    records = const offset_of!(Window, records),
                    base = const offset_of!(Window, base),
                    current = const offset_of!(Heap, current),
                    no_unit = const NO_UNIT.cast_signed(),
                    row = const offset_of!(Record, row),
                    blocks = const offset_of!(Record, blocks),
                    used = const offset_of!(Record, used),
                    local = const offset_of!(Record, local),
                    unit_shift = const crate::layout::UNIT_SHIFT,
                    refills = const offset_of!(Heap, counters) + offset_of!(Counters, refills),
                    refilled = const offset_of!(Heap, counters) + offset_of!(Counters, refilled_blocks),
                    last = const LAST,
                    count = const COUNT,
                    bits = const (1u64 << COUNT) - 1,
                    options(nostack),
                );
            }
            if first == 0 { None } else { Some(first) }
        }

        /// Frees `COUNT` neighbours into a quiet slab of the heap and class, unless that empties one that is not
        /// current; the number of this flush. `None`, and nothing done, if anything is otherwise.
        #[inline(always)]
        pub(super) fn give<const COUNT: usize>(home: u32, class: Class, row: &Row, token: usize) -> Option<u32> {
            let turn: i64;
            // SAFETY: as in `take`; `Row::of_full` has compared the unit with the bound.
            unsafe {
                asm!(
                    "imul {heap}, {heap}, {heap_bytes}",
                    "add {heap}, qword ptr [rip + {window} + {heaps}]",
                    "cmp qword ptr [rip + {window} + {forking}], 0",
                    "jne 4f",
                    "xor eax, eax",                         // the lock as it must be
                    "lock cmpxchg qword ptr [{heap}], {token}",
                    "jne 4f",
                    "imul {record}, {unit}, {record_bytes}",
                    "add {record}, qword ptr [rip + {window} + {records}]",
                    "mov eax, dword ptr [{heap} + {index}]", // the identity, quiet
                    "shl rax, 32",
                    "lea rax, [rax + {class} + {quiet}]",
                    "cmp qword ptr [{record}], rax",
                    "jne 3f",
                    "cmp dword ptr [{record} + {used}], {count}",
                    "jbe 6f",
                    "2:",
                    "lea eax, [{first} + {count}]",
                    "cmp eax, dword ptr [{record} + {blocks}]",
                    "ja 3f",
                    "cmp {first:e}, {last}",
                    "ja 3f",
                    "mov ecx, {first:e}",                   // the bit in its byte
                    "and ecx, 7",
                    "mov {mask:e}, {bits}",
                    "shl {mask}, cl",
                    "mov eax, {first:e}",                   // the byte
                    "shr eax, 3",
                    "test qword ptr [{record} + rax + {local}], {mask}",
                    "jne 3f",
                    "or qword ptr [{record} + rax + {local}], {mask}",
                    "sub dword ptr [{record} + {used}], {count}",
                    "mov eax, dword ptr [{record} + {row}]", // a lower guess, if there is one: none is far above,
                    "sub eax, {first:e}",                   // and lower ones wrap around
                    "dec eax",
                    "cmp eax, {far}",
                    "jae 7f",
                    "mov dword ptr [{record} + {row}], {first:e}",
                    "7:",
                    "lea rcx, [{class} + 4*{class}]",       // five counters to a class
                    "inc qword ptr [{heap} + 8*rcx + {flushes}]",
                    "add qword ptr [{heap} + 8*rcx + {flushed}], {count}",
                    "mov eax, dword ptr [{heap} + {turn_at}]",
                    "inc eax",
                    "mov dword ptr [{heap} + {turn_at}], eax",
                    "mov qword ptr [{heap}], 0",
                    "jmp 5f",
                    "6:",                                   // the slab becomes empty, if it has so many
                    "jb 3f",
                    "cmp dword ptr [{heap} + 4*{class} + {current}], {unit:e}",
                    "je 2b",
                    "3:",
                    "mov qword ptr [{heap}], 0",
                    "4:",
                    "mov rax, -1",
                    "5:",
                    heap = inout(reg) home as usize => _,
                    class = in(reg) class.index(),
                    token = in(reg) token,
                    unit = in(reg) row.unit as usize,
                    first = in(reg) row.first,
                    record = out(reg) _,
                    mask = out(reg) _,
                    out("rax") turn,
                    out("rcx") _,
                    window = sym WINDOW,
                    heap_bytes = const size_of::<Heap>(),
                    record_bytes = const size_of::<Record>(),
                    heaps = const offset_of!(Window, heaps),
                    forking = const offset_of!(Window, forking),
                    records = const offset_of!(Window, records),
                    current = const offset_of!(Heap, current),
                    index = const offset_of!(Heap, index),
                    turn_at = const offset_of!(Heap, turn),
                    quiet = const crate::layout::Identity::NONE.quiet().0,
                    row = const offset_of!(Record, row),
                    blocks = const offset_of!(Record, blocks),
                    used = const offset_of!(Record, used),
                    local = const offset_of!(Record, local),
                    flushes = const offset_of!(Heap, counters) + offset_of!(Counters, flushes),
                    flushed = const offset_of!(Heap, counters) + offset_of!(Counters, flushed_blocks),
                    far = const 64 * SLAB_WORDS,
                    last = const LAST,
                    count = const COUNT,
                    bits = const (1u64 << COUNT) - 1,
                    options(nostack),
                );
            }
            if turn < 0 { None } else { Some(turn as u32) }
        }

        const _: () = {
            assert!(offset_of!(Heap, lock) == 0 && offset_of!(Record, identity) == 0);
            assert!(size_of::<Counters>() == 5 * 8);
        };
    } else {
        pub(super) use twin::{give, take};
    }
}

#[cfg(any(test, loom, not(all(target_arch = "x86_64", target_pointer_width = "64"))))]
mod twin {
    use crate::heap::{count_flush, count_refill, lock, next_turn, row};
    use crate::size_class::Class;

    /// Takes `COUNT` neighbours from where the current slab guesses a row; the address of the lowest. `None`, and nothing
    /// done, if the heap's lock is taken, somebody forks, or there is no such row. `token` is the calling thread's.
    #[inline(always)]
    pub(in crate::heap) fn take<const COUNT: usize>(
        home: u32,
        class: Class,
        token: usize,
    ) -> Option<usize> {
        let held = lock::try_quickly(home, token)?;
        let first = row::take(&held, class, COUNT);
        if first.is_some() {
            count_refill(&held, class, COUNT);
        }
        first
    }

    /// Frees `COUNT` neighbours into a quiet slab of the heap and class, unless that empties one that is not
    /// current; the number of this flush. `None`, and nothing done, if anything is otherwise.
    #[inline(always)]
    pub(in crate::heap) fn give<const COUNT: usize>(
        home: u32,
        class: Class,
        row: &row::Row,
        token: usize,
    ) -> Option<u32> {
        let held = lock::try_quickly(home, token)?;
        if !row::give(&held, row, class) {
            return None;
        }
        count_flush(&held, class, COUNT);
        Some(next_turn(&held))
    }
}

#[cfg(all(test, not(loom), target_arch = "x86_64", target_pointer_width = "64"))]
mod tests;
