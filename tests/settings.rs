//! What the settings promise, each measured with and without it: from the environment on the preloaded library, and typed on the Rust face.
//! Settings belong to a process, so each is a scenario of its own, which prints what it measured.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use bitmag::{Bitmag, Config, HugePages};
use libtest_mimic::Trial;
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::process::ExitCode;
use support::child::{Child, Ended};
use support::verdict::{self, Scenario, Tested, Verdict, native_test};

const MIB: usize = 1 << 20;

fn malloc(size: usize) -> *mut u8 {
    // SAFETY: no precondition.
    let block: *mut u8 = unsafe { libc::malloc(black_box(size)) }.cast();
    assert!(!block.is_null());
    black_box(block)
}

/// # Safety
/// A block of `malloc`.
unsafe fn free(block: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe { libc::free(block.cast()) }
}

/// Writes to each page.
fn touch(block: *mut u8, size: usize) {
    for offset in (0..size).step_by(4096) {
        // SAFETY: inside the block that the callers own.
        unsafe { block.add(offset).write_volatile(1) };
    }
}

/// Page faults of this thread so far that needed no disk.
fn faults() -> i64 {
    // SAFETY: getrusage fills the struct in.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage) == 0);
        usage.ru_minflt
    }
}

/// "always", "never" or "default": what the kernel was told of huge pages at an address.
fn advice(address: *mut u8) -> &'static str {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let mut inside = false;
    for line in maps.lines() {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let hexadecimal = |text| usize::from_str_radix(text, 16).ok();
        if let Some((start, end)) =
            range.and_then(|(a, b)| Some((hexadecimal(a)?, hexadecimal(b)?)))
        {
            inside = (start..end).contains(&address.addr());
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
            let has = |flag| flags.split_whitespace().any(|word| word == flag);
            return if has("hg") {
                "always"
            } else if has("nh") {
                "never"
            } else {
                "default"
            };
        }
    }
    "unmapped"
}

/// Says what is advised for a small block, a large one, and that one's place once it is free and small blocks may come to lie there.
fn advised() -> Result<(), String> {
    let (small, large, huge) = (malloc(100), malloc(9 * MIB), malloc(300 * MIB));
    // A whole huge page of it.
    let inside = large.wrapping_add(4 * MIB);
    let while_live = [advice(small), advice(inside), advice(huge)];
    // SAFETY: blocks from above.
    unsafe {
        free(large);
        free(huge);
    }
    println!("{} {} {} {}", while_live[0], while_live[1], while_live[2], advice(inside));
    Ok(())
}

/// Pages of the 512 KiB from a block on that are resident.
fn resident_from(block: *mut u8) -> usize {
    let start = block.map_addr(|address| address & !4095);
    let mut pages = [0u8; 128];
    // SAFETY: mincore looks at a range, whatever it is, and writes a byte for each page of it.
    let done = unsafe { libc::mincore(start.cast(), 512 << 10, pages.as_mut_ptr()) };
    assert!(done == 0, "not mapped");
    pages.iter().filter(|page| *page & 1 != 0).count()
}

/// Says how much is resident around the first block.
fn populated() -> Result<(), String> {
    println!("{}", resident_from(malloc(64)));
    Ok(())
}

/// Has 64 MiB and frees them. The counters say what is left.
fn freed() -> Result<(), String> {
    let blocks: Vec<*mut u8> = (0..640).map(|_| malloc(100_000)).collect();
    blocks.iter().for_each(|block| touch(*block, 100_000));
    for block in blocks {
        // SAFETY: blocks from above.
        unsafe { free(block) };
    }
    Ok(())
}

fn nothing() -> Result<(), String> {
    malloc(64);
    Ok(())
}

const WANTED: [(Layout, usize); 2] =
    [(Layout::new::<[u8; 4096]>(), 64), (Layout::new::<[u64; 6]>(), 10_000)];

static READY: Bitmag = Bitmag::with(Config::new().prewarm(&WANTED));
static PLAIN: Bitmag = Bitmag::new();

fn allocated(face: &Bitmag) -> Result<(), String> {
    // SAFETY: the layouts have a size; the blocks stay.
    unsafe {
        black_box(face.alloc(Layout::new::<u64>()));
        let before = faults();
        for (layout, count) in WANTED {
            for _ in 0..count {
                face.alloc(layout).write_volatile(1);
            }
        }
        println!("{}", faults() - before);
    }
    Ok(())
}

fn prewarmed() -> Result<(), String> {
    allocated(&READY)
}

fn not_prewarmed() -> Result<(), String> {
    allocated(&PLAIN)
}

static TYPED: Bitmag = Bitmag::with(
    Config::new()
        .huge_pages(HugePages::Always)
        .populate(MIB)
        .reserve(256 * MIB)
        .purge_share(Config::NEVER)
        .soft_limit(32 * MIB),
);

/// All of it at once, as a Rust program says it.
fn typed() -> Result<(), String> {
    let layout = Layout::from_size_align(9 * MIB, 8).map_err(|e| e.to_string())?;
    // SAFETY: blocks of these layouts, freed once.
    unsafe {
        let pages = resident_from(TYPED.alloc(Layout::new::<u64>()));
        ensure!(pages >= 120, "{pages} pages populated");
        let large = TYPED.alloc(layout);
        if std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            let advice = advice(large.add(4 * MIB));
            ensure!(advice == "always", "huge pages: {advice}");
        }
        TYPED.dealloc(large, layout);
        let reserved = bitmag::stats().reserved;
        ensure!(reserved >= 256 * MIB, "{reserved} bytes reserved");
        let layout = Layout::from_size_align(100_000, 8).map_err(|e| e.to_string())?;
        let blocks: Vec<*mut u8> = (0..640).map(|_| TYPED.alloc(layout)).collect();
        blocks.iter().for_each(|block| touch(*block, 100_000));
        blocks.iter().for_each(|block| TYPED.dealloc(*block, layout));
        let left = bitmag::stats().free_resident;
        ensure!(left < 8 * MIB, "{left} bytes left beyond the limit");
    }
    Ok(())
}

const SCENARIOS: &[Scenario] = &[
    ("advised", advised),
    ("populated", populated),
    ("freed", freed),
    ("nothing", nothing),
    ("prewarmed", prewarmed),
    ("not_prewarmed", not_prewarmed),
    ("typed", typed),
];

/// A scenario on the preloaded library, to its clean and silent end.
fn run(scenario: &str, variables: &[(&str, &str)]) -> Result<Ended, String> {
    let mut child = Child::scenario(scenario).preload()?;
    for (name, value) in variables {
        child = child.env(name, value);
    }
    let ended = child.succeed()?;
    ensure!(ended.stderr.is_empty(), "{}", ended.describe());
    Ok(ended)
}

fn number(ended: &Ended) -> Result<i64, String> {
    ended.stdout.trim().parse().map_err(|_| ended.describe())
}

fn huge_pages() -> Tested {
    if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        return Ok(Verdict::NotHere("the kernel has no huge pages".into()));
    }
    for (value, wanted) in [
        ("", "never never default never"),
        ("auto", "never never default never"),
        ("never", "never never never never"),
        ("always", "never always always never"),
    ] {
        let variable = [("BITMAG_HUGE_PAGES", value)];
        let ended = run("advised", if value.is_empty() { &[] } else { &variable })?;
        ensure!(ended.stdout.trim() == wanted, "{value:?}: {}", ended.describe());
    }
    Ok(Verdict::Holds)
}

fn populate() -> Tested {
    let plain = number(&run("populated", &[])?)?;
    ensure!(plain <= 16, "{plain} pages without");
    for (kib, least, most) in [("1024", 120, 128), ("256", 48, 80), ("64", 12, 32)] {
        let pages = number(&run("populated", &[("BITMAG_POPULATE", kib)])?)?;
        ensure!((least..=most).contains(&pages), "{pages} pages with {kib} KiB");
    }
    Ok(Verdict::Holds)
}

fn reserve() -> Tested {
    let reserved = |ended: &Ended| ended.counters.first().map_or(0, |c| c.get("reserved"));
    let plain = reserved(&run("nothing", &[])?);
    ensure!(plain > 0 && plain <= 16 * MIB as u64, "{plain} bytes without");
    let variable = ("BITMAG_RESERVE", "262144");
    let more = reserved(&run("nothing", &[variable])?);
    ensure!((256 * MIB as u64..300 * MIB as u64).contains(&more), "{more} bytes");
    // Under a limit that forbids it the program runs all the same.
    let child = Child::scenario("freed").preload()?.env(variable.0, variable.1);
    let ended = child.address_space(200 * MIB as u64).succeed()?;
    ensure!(reserved(&ended) < 200 * MIB as u64, "{}", ended.describe());
    Ok(Verdict::Holds)
}

fn soft_limit() -> Tested {
    let left = |ended: &Ended| ended.counters.first().map_or(0, |c| c.get("free_resident"));
    let never = ("BITMAG_PURGE_SHARE", "never");
    let plain = left(&run("freed", &[never])?);
    ensure!(plain >= 48 * MIB as u64, "only {plain} bytes left without a limit");
    let below = left(&run("freed", &[never, ("BITMAG_SOFT_LIMIT", "1048576")])?);
    ensure!(below >= 48 * MIB as u64, "only {below} bytes left below the limit");
    for variables in
        [&[("BITMAG_SOFT_LIMIT", "32768")][..], &[never, ("BITMAG_SOFT_LIMIT", "32768")]]
    {
        let above = left(&run("freed", variables)?);
        ensure!(above <= 2 * MIB as u64, "{above} bytes left above the limit");
    }
    Ok(Verdict::Holds)
}

fn prewarm_at_start() -> Tested {
    let plain = number(&Child::scenario("not_prewarmed").succeed()?)?;
    ensure!(plain >= 150, "only {plain} faults: nothing to be seen");
    let ready = number(&Child::scenario("prewarmed").succeed()?)?;
    ensure!(ready == 0, "{ready} faults, {plain} without");
    Ok(Verdict::Holds)
}

fn typed_settings() -> Tested {
    Child::scenario("typed").succeed()?;
    Ok(Verdict::Holds)
}

fn bad_values() -> Tested {
    for (name, value) in [
        ("BITMAG_HUGE_PAGES", "sometimes"),
        ("BITMAG_POPULATE", "all"),
        ("BITMAG_RESERVE", "1G"),
        ("BITMAG_SOFT_LIMIT", "-1"),
    ] {
        let ended = Child::scenario("nothing").preload()?.env(name, value).succeed()?;
        let wanted = format!("bitmag: ignoring {name}={value}\n");
        ensure!(ended.stderr == wanted, "{}", ended.describe());
    }
    Ok(Verdict::Holds)
}

fn tests() -> Vec<Trial> {
    vec![
        native_test("settings::huge_pages", huge_pages),
        native_test("settings::populate", populate),
        native_test("settings::reserve", reserve),
        native_test("settings::soft_limit", soft_limit),
        native_test("settings::prewarm_at_start", prewarm_at_start),
        native_test("settings::typed_settings", typed_settings),
        native_test("settings::bad_values", bad_values),
    ]
}

fn main() -> ExitCode {
    verdict::main(SCENARIOS, tests)
}
