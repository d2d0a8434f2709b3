//! What the shared object is, read from its file: exactly the promised exports, its name, and how it may be loaded.
//! An export too few breaks a program that mixes families of functions; an export too many captures a name of somebody else's.
//! The bound on thread-local storage is what lets three copies be loaded late (`copies.rs`).

use crate::ensure;
use crate::support::library;
use crate::support::verdict::{Verdict, test};
use libtest_mimic::Trial;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol, elf};
use std::collections::BTreeSet;

const C: &str = "malloc free calloc realloc reallocarray aligned_alloc posix_memalign memalign valloc pvalloc \
    malloc_usable_size malloc_trim mallinfo mallinfo2 mallopt malloc_stats malloc_info free_sized free_aligned_sized cfree \
    bitmag_alloc_batch bitmag_free_batch bitmag_maintain";

/// `new` and `delete`: plain, nothrow, aligned, sized, and what of it combines, each for one and for an array.
const CPP: &str = "_Znwm _Znam _ZnwmRKSt9nothrow_t _ZnamRKSt9nothrow_t \
    _ZnwmSt11align_val_t _ZnamSt11align_val_t _ZnwmSt11align_val_tRKSt9nothrow_t _ZnamSt11align_val_tRKSt9nothrow_t \
    _ZdlPv _ZdaPv _ZdlPvRKSt9nothrow_t _ZdaPvRKSt9nothrow_t _ZdlPvm _ZdaPvm \
    _ZdlPvSt11align_val_t _ZdaPvSt11align_val_t _ZdlPvSt11align_val_tRKSt9nothrow_t _ZdaPvSt11align_val_tRKSt9nothrow_t \
    _ZdlPvmSt11align_val_t _ZdaPvmSt11align_val_t";

/// Three copies of this size fit into what glibc keeps for libraries loaded late.
const MOST_TLS: u64 = 544;

pub fn tests() -> Vec<Trial> {
    vec![test("exports::are_the_promised_ones", || {
        let bytes = std::fs::read(library::path()?).map_err(|e| e.to_string())?;
        let file = ElfFile64::<Endianness>::parse(&*bytes).map_err(|e| e.to_string())?;
        let found: BTreeSet<&str> = file
            .dynamic_symbols()
            .filter(|symbol| symbol.is_definition() && symbol.is_global())
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        let promised: BTreeSet<&str> = C.split_whitespace().chain(CPP.split_whitespace()).collect();
        let (missing, extra): (Vec<_>, Vec<_>) =
            (promised.difference(&found).collect(), found.difference(&promised).collect());
        ensure!(
            missing.is_empty() && extra.is_empty(),
            "missing {missing:?}, not promised {:?}",
            &extra[..extra.len().min(20)]
        );

        let endian = file.endian();
        let header = file.elf_header();
        for segment in header.program_headers(endian, &*bytes).map_err(|e| e.to_string())? {
            if segment.p_type(endian) == elf::PT_TLS {
                let size = segment.p_memsz(endian);
                ensure!(size <= MOST_TLS, "{size} bytes of static thread-local storage");
            }
        }
        let sections = header.sections(endian, &*bytes).map_err(|e| e.to_string())?;
        let (entries, strings) = sections
            .dynamic(endian, &*bytes)
            .map_err(|e| e.to_string())?
            .ok_or("no dynamic section")?;
        let strings = sections.strings(endian, &*bytes, strings).map_err(|e| e.to_string())?;
        let (mut soname, mut needed, mut nodelete) = (None, Vec::new(), false);
        for entry in entries {
            let value = entry.d_val(endian);
            let text = || {
                strings
                    .get(value as u32)
                    .map(|name| String::from_utf8_lossy(name).into_owned())
                    .unwrap_or_default()
            };
            match u32::try_from(entry.d_tag(endian)).unwrap_or(0) {
                elf::DT_SONAME => soname = Some(text()),
                elf::DT_NEEDED => needed.push(text()),
                elf::DT_FLAGS_1 => nodelete = value & u64::from(elf::DF_1_NODELETE) != 0,
                _ => {}
            }
        }
        ensure!(soname.as_deref() == Some("libbitmag_malloc.so"), "the SONAME is {soname:?}");
        ensure!(nodelete, "the library could be unloaded under its threads");
        let allowed = |name: &String| name.starts_with("libc.") || name.starts_with("ld-linux");
        ensure!(needed.iter().all(allowed), "it needs {needed:?}");
        Ok(Verdict::Holds)
    })]
}
