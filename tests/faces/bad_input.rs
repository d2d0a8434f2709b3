//! Bad input, as glibc 2.38 and later define it, `errno` included; and what the Rust face does with requests that nothing can satisfy.
//! Each line of the table is one call and what must come of it; `errno` is set to a value of our own before, and must be that still where the call has no business with it.
//! Alignments that are no power of two, which newer glibc refuses in `aligned_alloc` and rounds up in `memalign`, are here too.

use crate::support::api::{Api, Way};
use crate::support::block::Block;
use crate::support::c_api::CApi;
use crate::support::verdict::{Verdict, test};
use crate::{RUST, c_face, ensure};
use libc::{EINVAL, ENOMEM};
use libtest_mimic::Trial;
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;

/// No error of the system has this number.
const UNTOUCHED: i32 = 4242;

fn errno() -> i32 {
    // SAFETY: the location of this thread's errno.
    unsafe { *libc::__errno_location() }
}

fn set_errno(value: i32) {
    // SAFETY: the location of this thread's errno.
    unsafe { *libc::__errno_location() = value }
}

/// Calls, and gives the result with the errno that it left.
fn with_errno<R>(call: impl FnOnce() -> R) -> (R, i32) {
    set_errno(UNTOUCHED);
    let result = call();
    (result, errno())
}

fn refused(what: &str, wanted: i32, call: impl FnOnce() -> *mut u8) -> Result<(), String> {
    let (pointer, error) = with_errno(call);
    ensure!(pointer.is_null(), "{what} gave {pointer:p}");
    ensure!(error == wanted, "{what}: errno {error}, not {wanted}");
    Ok(())
}

const MISSING: &str = "every C face has it";

fn huge(c: &CApi) -> Result<(), String> {
    let most = isize::MAX as usize;
    let mut sizes: Vec<usize> = (0..=70).map(|below| usize::MAX - below).collect();
    sizes.extend([
        usize::MAX - 4095,
        usize::MAX - 4096,
        usize::MAX - 65535,
        usize::MAX - 65536,
        usize::MAX / 2 + 2,
    ]);
    sizes.extend([most + 1, most, most - 1, most - 15, most - 4096, most - 65536]);
    if cfg!(target_pointer_width = "64") {
        sizes.push(most / 2 + 1);
    }
    for size in sizes {
        // SAFETY: calls that must fail; nothing is dereferenced.
        unsafe {
            refused(&format!("malloc({size:#x})"), ENOMEM, || c.malloc.expect(MISSING)(size))?;
            refused(&format!("calloc(1, {size:#x})"), ENOMEM, || {
                c.calloc.expect(MISSING)(1, size)
            })?;
            refused(&format!("realloc(NULL, {size:#x})"), ENOMEM, || {
                c.realloc.expect(MISSING)(null_mut(), size)
            })?;
            refused(&format!("aligned_alloc(64, {size:#x})"), ENOMEM, || {
                c.aligned_alloc.expect(MISSING)(64, size)
            })?;
            refused(&format!("memalign(4096, {size:#x})"), ENOMEM, || {
                c.memalign.expect(MISSING)(4096, size)
            })?;
            refused(&format!("valloc({size:#x})"), ENOMEM, || c.valloc.expect(MISSING)(size))?;
            refused(&format!("pvalloc({size:#x})"), ENOMEM, || c.pvalloc.expect(MISSING)(size))?;
            if let Some(new) = c.new_array_nothrow {
                let (pointer, _) = with_errno(|| new(size, &0));
                ensure!(pointer.is_null(), "new[]({size:#x}, nothrow) gave {pointer:p}");
            }
            for align in [8usize, 16, 64, 4096, 1 << 20, 1 << 30] {
                let mut out = UNTOUCHED as usize as *mut u8;
                // Whether errno is set too is left open by POSIX; glibc does.
                let result = c.posix_memalign.expect(MISSING)(&mut out, align, size);
                let what = format!("posix_memalign(_, {align:#x}, {size:#x})");
                ensure!(result == ENOMEM, "{what} returned {result}");
                ensure!(out as usize == UNTOUCHED as usize, "{what} wrote its result");
            }
        }
    }
    Ok(())
}

fn overflow(c: &CApi) -> Result<(), String> {
    let half = 1usize << (usize::BITS / 2);
    let pairs = [
        (usize::MAX, 2),
        (2, usize::MAX),
        (half, half),
        (half + 1, half),
        (usize::MAX / 2 + 1, 2),
        (usize::MAX, usize::MAX),
        (3, usize::MAX / 2),
    ];
    for (count, size) in pairs {
        // SAFETY: calls that must fail; the block is live throughout.
        unsafe {
            refused(&format!("calloc({count:#x}, {size:#x})"), ENOMEM, || {
                c.calloc.expect(MISSING)(count, size)
            })?;
            let block = filled(c, 100)?;
            let what = format!("reallocarray(p, {count:#x}, {size:#x})");
            refused(&what, ENOMEM, || {
                c.reallocarray.expect(MISSING)(block.addr as *mut u8, count, size)
            })?;
            block.check(100)?;
            c.free.expect(MISSING)(block.addr as *mut u8);
            refused(&what, ENOMEM, || c.reallocarray.expect(MISSING)(null_mut(), count, size))?;
        }
    }
    Ok(())
}

fn filled(c: &CApi, size: usize) -> Result<Block, String> {
    // SAFETY: a plain allocation, filled inside its size.
    unsafe {
        let addr = c.malloc.expect(MISSING)(size) as usize;
        ensure!(addr != 0, "malloc({size}) is NULL");
        let block =
            Block { addr, size, align: 16, way: Way::Malloc, extent: size, seed: size as u64 };
        block.fill();
        Ok(block)
    }
}

fn alignments(c: &CApi) -> Result<(), String> {
    // SAFETY: calls with bad alignments, which may not touch anything; good results are freed.
    unsafe {
        for align in [
            0usize,
            3,
            5,
            6,
            7,
            12,
            24,
            48,
            100,
            4095,
            4097,
            (1 << 30) + 1,
            usize::MAX,
            usize::MAX - 1,
            usize::MAX / 2 + 2,
        ] {
            refused(&format!("aligned_alloc({align:#x}, 64)"), EINVAL, || {
                c.aligned_alloc.expect(MISSING)(align, 64)
            })?;
        }
        for align in [0usize, 1, 2, 3, 4, 6, 7, 12, 20, 24, 48, 4097, usize::MAX] {
            let mut out = UNTOUCHED as usize as *mut u8;
            let (result, error) =
                with_errno(|| c.posix_memalign.expect(MISSING)(&mut out, align, 64));
            let what = format!("posix_memalign(_, {align:#x}, 64)");
            ensure!(
                result == EINVAL && error == UNTOUCHED,
                "{what} returned {result}, errno {error}"
            );
            ensure!(out as usize == UNTOUCHED as usize, "{what} wrote its result");
        }
        for (align, given) in
            [(0usize, 16usize), (1, 16), (3, 16), (17, 32), (24, 32), (100, 128), (5000, 8192)]
        {
            let pointer = c.memalign.expect(MISSING)(align, 70);
            ensure!(
                !pointer.is_null() && (pointer as usize).is_multiple_of(given),
                "memalign({align}, 70) gave {pointer:p}"
            );
            pointer.write_bytes(1, 70);
            c.free.expect(MISSING)(pointer);
        }
        refused("memalign(SIZE_MAX, 1)", EINVAL, || c.memalign.expect(MISSING)(usize::MAX, 1))?;
        refused("memalign(2^63 + 2, 1)", EINVAL, || {
            c.memalign.expect(MISSING)(usize::MAX / 2 + 3, 1)
        })?;
        for (align, size) in [
            (1usize << (usize::BITS - 1), 1usize),
            (1 << (usize::BITS - 2), 1 << (usize::BITS - 2)),
        ] {
            refused(&format!("aligned_alloc({align:#x}, {size})"), ENOMEM, || {
                c.aligned_alloc.expect(MISSING)(align, size)
            })?;
        }
        // A size that is no multiple of the alignment is fine.
        let pointer = c.aligned_alloc.expect(MISSING)(256, 13);
        ensure!(
            !pointer.is_null() && (pointer as usize).is_multiple_of(256),
            "aligned_alloc(256, 13) gave {pointer:p}"
        );
        c.free.expect(MISSING)(pointer);
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        for size in [0, 1, page, page + 1] {
            let (one, whole) = (c.valloc.expect(MISSING)(size), c.pvalloc.expect(MISSING)(size));
            ensure!(
                !one.is_null() && (one as usize).is_multiple_of(page),
                "valloc({size}) gave {one:p}"
            );
            ensure!(
                !whole.is_null() && (whole as usize).is_multiple_of(page),
                "pvalloc({size}) gave {whole:p}"
            );
            let usable = c.malloc_usable_size.expect(MISSING)(whole);
            ensure!(
                usable >= size.next_multiple_of(page),
                "pvalloc({size}) has {usable} usable bytes"
            );
            c.free.expect(MISSING)(one);
            c.free.expect(MISSING)(whole);
        }
    }
    Ok(())
}

fn nothing(c: &CApi) -> Result<(), String> {
    // SAFETY: every call here is defined for NULL or for size 0.
    unsafe {
        let ((), error) = with_errno(|| c.free.expect(MISSING)(null_mut()));
        ensure!(error == UNTOUCHED, "free(NULL) set errno to {error}");
        let sizes = [
            0usize,
            1,
            8,
            16,
            64,
            1000,
            1024,
            1025,
            20_000,
            40_000,
            1 << 30,
            usize::MAX - 3,
            usize::MAX,
        ];
        for round in 0..200 {
            let size = sizes[round % sizes.len()];
            let ((), error) = with_errno(|| {
                c.free_sized.expect(MISSING)(null_mut(), size);
                c.free_aligned_sized.expect(MISSING)(null_mut(), 64, size);
                c.delete.expect(MISSING)(null_mut());
                c.delete_array.expect(MISSING)(null_mut());
                c.delete_sized.expect(MISSING)(null_mut(), size);
                c.delete_array_sized.expect(MISSING)(null_mut(), size);
                c.delete_aligned.expect(MISSING)(null_mut(), 64);
                c.delete_sized_aligned.expect(MISSING)(null_mut(), size, 64);
                c.cfree.expect(MISSING)(null_mut());
            });
            ensure!(error == UNTOUCHED, "sized frees of NULL ({size}) set errno to {error}");
        }
        // What NULLs a magazine may hold now must never come out of it as blocks.
        let small: Vec<*mut u8> =
            (0..400).map(|i| c.malloc.expect(MISSING)(sizes[i % 9])).collect();
        ensure!(
            small.iter().all(|pointer| !pointer.is_null()),
            "malloc gave a NULL after sized frees of NULL"
        );
        small.into_iter().for_each(|pointer| c.free.expect(MISSING)(pointer));

        ensure!(
            c.malloc_usable_size.expect(MISSING)(null_mut()) == 0,
            "malloc_usable_size(NULL) is not 0"
        );
        let pointers: Vec<*mut u8> = (0..100)
            .flat_map(|_| {
                [
                    c.malloc.expect(MISSING)(0),
                    c.calloc.expect(MISSING)(0, 5),
                    c.calloc.expect(MISSING)(usize::MAX, 0),
                    c.realloc.expect(MISSING)(null_mut(), 0),
                    c.aligned_alloc.expect(MISSING)(64, 0),
                    c.new.expect(MISSING)(0),
                ]
            })
            .collect();
        let unique: std::collections::HashSet<_> = pointers.iter().copied().collect();
        ensure!(
            unique.len() == pointers.len() && !unique.contains(&null_mut()),
            "blocks of no bytes are not unique"
        );
        pointers.into_iter().for_each(|pointer| c.free.expect(MISSING)(pointer));

        for size in [1usize, 100, 5000, 100_000, 3 << 20] {
            let block = filled(c, size)?;
            let (result, _) = with_errno(|| c.realloc.expect(MISSING)(block.addr as *mut u8, 0));
            ensure!(result.is_null(), "realloc(p, 0) gave {result:p}");
            let block = filled(c, size)?;
            let result = c.reallocarray.expect(MISSING)(block.addr as *mut u8, 0, 8);
            ensure!(result.is_null(), "reallocarray(p, 0, 8) gave {result:p}");
        }
    }
    Ok(())
}

fn kept(c: &CApi) -> Result<(), String> {
    for size in [1usize, 24, 700, 1024, 1025, 9000, 33_000, 200_000, 5 << 20, 300 << 20] {
        // SAFETY: blocks of this library, freed once each.
        unsafe {
            let block = filled(c, size)?;
            for new_size in
                [usize::MAX, isize::MAX as usize, usize::MAX - 20, isize::MAX as usize - 70_000]
            {
                let what = format!("realloc(p of {size}, {new_size:#x})");
                refused(&what, ENOMEM, || {
                    c.realloc.expect(MISSING)(block.addr as *mut u8, new_size)
                })?;
                block.check(size)?;
            }
            // Enough frees of a size that each way of a free is taken: pushed, flushed, unmapped.
            let blocks: Vec<Block> = (0..if size > 1 << 20 { 2 } else { 100 })
                .map(|_| filled(c, size))
                .collect::<Result<_, _>>()?;
            for block in blocks.iter().chain([&block]) {
                let ((), error) = with_errno(|| c.free.expect(MISSING)(block.addr as *mut u8));
                ensure!(error == UNTOUCHED, "free of {size} bytes set errno to {error}");
            }
        }
    }
    Ok(())
}

fn tunables(c: &CApi) -> Result<(), String> {
    // SAFETY: functions that only report or tune; the file is ours and stays open over the call.
    unsafe {
        let block = filled(c, 50_000)?;
        let info = c.mallinfo2.expect(MISSING)();
        ensure!(info.0[7] > 0 || info.0[4] > 0, "mallinfo2 reports nothing in use: {info:?}");
        ensure!(
            matches!(c.malloc_trim.expect(MISSING)(0), 0 | 1),
            "malloc_trim returned something else than 0 or 1"
        );
        ensure!(
            matches!(c.mallopt.expect(MISSING)(-3, 65536), 0 | 1),
            "mallopt returned something else than 0 or 1"
        );
        let null = libc::fopen(c"/dev/null".as_ptr(), c"w".as_ptr());
        ensure!(c.malloc_info.expect(MISSING)(0, null) == 0, "malloc_info(0, file) failed");
        let (result, error) = with_errno(|| c.malloc_info.expect(MISSING)(7, null));
        ensure!(
            result == EINVAL || (result == -1 && error == EINVAL),
            "malloc_info(7, file) returned {result}"
        );
        libc::fclose(null);
        block.check(block.extent)?;
        c.free.expect(MISSING)(block.addr as *mut u8);
    }
    Ok(())
}

fn rust_face() -> Result<(), String> {
    for align in (0..=30).map(|exponent| 1usize << exponent) {
        for size in [
            isize::MAX as usize - align + 1,
            isize::MAX as usize - align,
            isize::MAX as usize - (align - 1) * 2,
        ] {
            let Ok(layout) = Layout::from_size_align(size, align) else { continue };
            // SAFETY: the layout is one that Rust can form; the result is not dereferenced.
            let pointer = unsafe { RUST.allocator.alloc(layout) };
            ensure!(pointer.is_null(), "alloc of {layout:?} gave {pointer:p}");
            // SAFETY: as above.
            let pointer = unsafe { RUST.allocator.alloc_zeroed(layout) };
            ensure!(pointer.is_null(), "alloc_zeroed of {layout:?} gave {pointer:p}");
        }
        for size in [1usize, 100, 3000, 40_000] {
            // SAFETY: a block of this face; what realloc refuses stays as it was.
            unsafe {
                let pointer = RUST.alloc(Way::Layout, size, align);
                ensure!(!pointer.is_null(), "alloc of {size} aligned {align}: NULL");
                let block = Block {
                    addr: pointer as usize,
                    size,
                    align,
                    way: Way::Layout,
                    extent: size,
                    seed: 7,
                };
                block.fill();
                let result = RUST.realloc(pointer, size, align, isize::MAX as usize - align + 1);
                ensure!(result.is_null(), "realloc to isize::MAX gave {result:p}");
                block.check(size)?;
                RUST.free(Way::Layout, 0, pointer, size, align);
            }
        }
    }
    Ok(())
}

type Body = fn(&CApi) -> Result<(), String>;

pub fn tests() -> Vec<Trial> {
    let bodies: [(&str, Body); 6] = [
        ("huge", huge),
        ("overflow", overflow),
        ("alignments", alignments),
        ("nothing", nothing),
        ("kept", kept),
        ("tunables", tunables),
    ];
    let mut tests: Vec<Trial> = bodies
        .into_iter()
        .map(|(name, body)| {
            test(format!("bad_input::c_face::{name}"), move || {
                body(&c_face()?).map(|()| Verdict::Holds)
            })
        })
        .collect();
    tests.push(test("bad_input::rust_face", || rust_face().map(|()| Verdict::Holds)));
    tests
}
