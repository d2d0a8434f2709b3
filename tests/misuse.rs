//! The misuse table: what is found of each fault at each entry, for small, medium and large blocks, and when.
//! Every cell runs in a child process of its own, in normal and in checked mode; the one line on stderr, its pointer and the signal are checked.
//! ARCHITECTURE.md shows the same table; what it promises is `TABLE` below, and nothing else.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use libtest_mimic::Trial;
use std::alloc::{GlobalAlloc, Layout};
use std::process::ExitCode;
use support::c_api::CApi;
use support::child::Child;
use support::library;
use support::verdict::{self, Scenario, Tested, Verdict, test};

static BITMAG: bitmag::Bitmag = bitmag::Bitmag::with(bitmag::Config::new().environment(true));

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// A pointer that no allocator of ours gave.
    Foreign,
    /// A pointer into the middle of a live block.
    Inside,
    /// Freed twice in a row.
    TwiceAtOnce,
    /// Freed again after the first free went back to the heap.
    TwiceLater,
    /// Freed with the size of another class.
    WrongSize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    /// C: `free(p)`
    Free,
    /// C: `free_sized(p, size)`
    SizedFree,
    /// Rust: `dealloc(p, layout)`
    Dealloc,
    /// C: `realloc(p, size)` to a size that moves the block
    Realloc,
    /// Rust: `realloc(p, layout, size)` to a size that moves the block
    LayoutRealloc,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// By the call itself.
    AtOnce,
    /// When the magazine that took the pointer is flushed (at the latest when the thread ends), or the slab folded (at the
    /// latest by a trim).
    AtFlush,
    /// In checked mode only.
    #[allow(dead_code, reason = "no cell needs it at present")]
    Checked,
    /// Not at all: nothing tells it from a correct call.
    Never,
}

use Entry::*;
use Fault::*;
use Found::*;

/// Fault, entry, and when it is found in normal mode for a small, a medium and a large block.
/// In checked mode everything that is not `Never` is found at once.
const TABLE: &[(Fault, Entry, [Found; 3])] = &[
    //                          small    medium   large
    (Foreign, Free, /*      */ [AtOnce, AtOnce, AtOnce]),
    (Foreign, SizedFree, /* */ [AtFlush, AtFlush, AtOnce]),
    (Foreign, Dealloc, /*   */ [AtFlush, AtFlush, AtOnce]),
    (Foreign, Realloc, /*   */ [AtOnce, AtOnce, AtOnce]),
    (Foreign, LayoutRealloc, [AtOnce, AtFlush, AtOnce]),
    (Inside, Free, /*       */ [AtFlush, AtOnce, AtOnce]),
    (Inside, SizedFree, /*  */ [AtFlush, AtFlush, AtOnce]),
    (Inside, Dealloc, /*    */ [AtFlush, AtFlush, AtOnce]),
    (Inside, Realloc, /*    */ [AtOnce, AtOnce, AtOnce]),
    (Inside, LayoutRealloc, [AtOnce, AtFlush, AtOnce]),
    (TwiceAtOnce, Free, /*  */ [AtFlush, AtFlush, AtOnce]),
    (TwiceAtOnce, SizedFree, [AtFlush, AtFlush, AtOnce]),
    (TwiceAtOnce, Dealloc, /**/ [AtFlush, AtFlush, AtOnce]),
    (TwiceAtOnce, Realloc, /**/ [AtFlush, AtFlush, AtOnce]),
    (TwiceAtOnce, LayoutRealloc, [AtFlush, AtFlush, AtOnce]),
    (TwiceLater, Free, /*   */ [AtFlush, AtFlush, AtOnce]),
    (TwiceLater, SizedFree, [AtFlush, AtFlush, AtOnce]),
    (TwiceLater, Dealloc, /**/ [AtFlush, AtFlush, AtOnce]),
    (TwiceLater, Realloc, /**/ [AtFlush, AtFlush, AtOnce]),
    (TwiceLater, LayoutRealloc, [AtFlush, AtFlush, AtOnce]),
    (WrongSize, SizedFree, [AtFlush, AtFlush, AtOnce]),
    (WrongSize, Dealloc, /* */ [AtFlush, AtFlush, AtOnce]),
    (WrongSize, LayoutRealloc, [AtOnce, AtFlush, AtOnce]),
];

/// The three kinds of blocks: the size asked for, a size of another class, and an offset inside.
const KINDS: [(&str, usize, usize, usize); 3] =
    [("small", 64, 128, 16), ("medium", 5000, 9000, 128), ("large", 100_000, 300_000, 4096)];

impl Fault {
    /// The words on stderr.
    fn words(self) -> &'static str {
        match self {
            Foreign => "foreign pointer",
            Inside => "pointer inside a block",
            TwiceAtOnce | TwiceLater => "double free",
            WrongSize => "wrong size",
        }
    }
}

impl Entry {
    fn in_rust(self) -> bool {
        matches!(self, Dealloc | LayoutRealloc)
    }
}

/// Tells the parent how far the child got, past every buffer.
fn say(text: &str) {
    // SAFETY: writes bytes of a string.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}

/// One way of using the allocator in the child.
struct User {
    c: Option<CApi>,
}

impl User {
    fn alloc(&self, size: usize) -> *mut u8 {
        // SAFETY: plain allocations.
        unsafe {
            match &self.c {
                Some(c) => c.malloc.map_or(std::ptr::null_mut(), |malloc| malloc(size)),
                None => BITMAG.alloc(Layout::from_size_align_unchecked(size, 8)),
            }
        }
    }

    /// The faulty call, or a correct one: `size` is what the caller claims.
    fn give_back(&self, entry: Entry, block: *mut u8, size: usize) {
        const LOADED: &str = "the library has it";
        // SAFETY: none; misuse is what is tested, in a process that does nothing else.
        unsafe {
            let layout = Layout::from_size_align_unchecked(size, 8);
            match (&self.c, entry) {
                (Some(c), Free) => c.free.expect(LOADED)(block),
                (Some(c), SizedFree) => c.free_sized.expect(LOADED)(block, size),
                (Some(c), Realloc) => drop(c.realloc.expect(LOADED)(block, 8 * size)),
                (_, LayoutRealloc) => drop(BITMAG.realloc(block, layout, 8 * size)),
                (_, _) => BITMAG.dealloc(block, layout),
            }
        }
    }
}

/// A child's part: `BITMAG_CELL` is the row and the kind.
fn cell() -> Result<(), String> {
    let cell = std::env::var("BITMAG_CELL").map_err(|e| e.to_string())?;
    let (row, kind) = cell.split_once(' ').ok_or("BITMAG_CELL")?;
    let (fault, entry, _) = TABLE[row.parse::<usize>().map_err(|e| e.to_string())?];
    let (_, size, wrong, offset) = KINDS[kind.parse::<usize>().map_err(|e| e.to_string())?];
    let user = User { c: if entry.in_rust() { None } else { Some(CApi::load(library::path()?)?) } };
    // What frees correctly what was allocated beside the fault.
    let plain = if entry.in_rust() { Dealloc } else { SizedFree };
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping wherever the kernel likes.
    let foreign = unsafe { libc::mmap(std::ptr::null_mut(), 1 << 20, access, flags, -1, 0) }
        as usize
        + 65_536;

    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // A thread at work: some blocks live, some free in its magazine.
            let live: Vec<*mut u8> = (0..6).map(|_| user.alloc(size)).collect();
            user.give_back(plain, live[0], size);
            user.give_back(plain, live[1], size);
            if fault == WrongSize {
                // Of a class that the thread allocates, too: the first frees of any other are looked at at once.
                user.give_back(plain, user.alloc(wrong), wrong);
            }
            let block = user.alloc(size);
            let (pointer, claimed) = match fault {
                Foreign => (foreign as *mut u8, size),
                Inside => (block.wrapping_add(offset), size),
                TwiceAtOnce | TwiceLater => (block, size),
                WrongSize => (block, wrong),
            };
            if fault == TwiceAtOnce {
                user.give_back(plain, block, size);
            }
            if fault == TwiceLater {
                // Freed on a thread that ends: what it had is back in the heap.
                let address = block as usize;
                let first = std::thread::scope(|inner| {
                    inner.spawn(|| user.give_back(plain, address as *mut u8, size)).join()
                });
                first.expect("the first free is correct");
            }
            say(&format!("{:#x}\n", pointer as usize));
            user.give_back(entry, pointer, claimed);
            say("returned\n");
        });
        drop(thread.join());
    });
    // What two heaps know of a block comes together when the slab is folded.
    match &user.c {
        // SAFETY: malloc_trim may be called at any time.
        Some(c) => drop(c.malloc_trim.map(|trim| unsafe { trim(0) })),
        None => drop(bitmag::trim()),
    }
    say("flushed\n");
    Ok(())
}

// A thread cannot borrow what it makes itself; the raw blocks never leave it.
// SAFETY: the loaded functions may be called from any thread.
unsafe impl Sync for User {}

/// Runs a cell and says when it was found.
fn observe(row: usize, kind: usize, checked: bool) -> Result<Found, String> {
    let (fault, ..) = TABLE[row];
    let child = Child::scenario("cell")
        .env("BITMAG_CELL", format!("{row} {kind}"))
        .env("BITMAG_LIBRARY", library::path()?)
        .within(20);
    let ended = if checked { child.env("BITMAG_CHECK", "1") } else { child }.run()?;
    let said: Vec<&str> = ended.stdout.lines().collect();
    let pointer = said.first().ok_or_else(|| format!("before the fault: {}", ended.describe()))?;
    if ended.signal() == Some(libc::SIGABRT) {
        let line = format!("bitmag: {}: {pointer}", fault.words());
        let rest = ended.stderr.strip_prefix(&line).and_then(|rest| rest.strip_suffix('\n'));
        let good = rest.is_some_and(|rest| {
            rest.is_empty()
                || (rest.starts_with(" (") && rest.ends_with(')') && !rest.contains('\n'))
        });
        ensure!(good, "wanted one line {line:?} on stderr, got {:?}", ended.stderr);
        return Ok(if said.contains(&"returned") { AtFlush } else { AtOnce });
    }
    ensure!(ended.status.is_some_and(|status| status.success()), "{}", ended.describe());
    ensure!(ended.stderr.is_empty(), "not found, but on stderr: {:?}", ended.stderr);
    Ok(Never)
}

fn check(row: usize, kind: usize, checked: bool) -> Tested {
    let expected = match (TABLE[row].2[kind], checked) {
        (Never, _) | (Checked, false) => Never,
        (_, true) => AtOnce,
        (found, false) => found,
    };
    let found = observe(row, kind, checked)?;
    ensure!(found == expected, "the table says {expected:?}, it was {found:?}");
    Ok(Verdict::Holds)
}

const SCENARIOS: &[Scenario] = &[
    ("cell", cell),
    ("correct", || {
        // The same child without a fault: nothing may be found.
        let user = User { c: Some(CApi::load(library::path()?)?) };
        for (_, size, ..) in KINDS {
            let blocks: Vec<*mut u8> = (0..100).map(|_| user.alloc(size)).collect();
            blocks.into_iter().for_each(|block| user.give_back(SizedFree, block, size));
        }
        Ok(())
    }),
    ("bad_pointers", bad_pointers),
    ("forwarded", forwarded),
    ("in_a_hole", in_a_hole),
];

/// Frees what lies in somebody else's mapping right behind the window, once blocks lie behind that.
fn in_a_hole() -> Result<(), String> {
    let user = User { c: Some(CApi::load(library::path()?)?) };
    let ours = user.alloc(64) as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|e| e.to_string())?;
    let mut end = ours;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).map_err(|e| e.to_string());
        let (from, to) = range.ok_or("a range")?;
        // All that follows without a gap is the window's.
        if (number(from)?..number(to)?).contains(&end) {
            end = number(to)?;
        }
    }
    let (access, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
    );
    // SAFETY: a new mapping where nothing is.
    let mapped = unsafe { libc::mmap(end as *mut libc::c_void, 1 << 20, access, flags, -1, 0) };
    ensure!(mapped as usize == end, "nothing can be mapped at {end:#x}");
    let behind = (0..512).map(|_| user.alloc(1 << 20) as usize);
    let behind = behind.into_iter().find(|block| (end..end + (1 << 36)).contains(block));
    ensure!(behind.is_some(), "the window did not go on behind {end:#x}");
    let pointer = end + 65_536;
    say(&format!("{pointer:#x}\n"));
    user.give_back(Free, pointer as *mut u8, 0);
    say("returned\n");
    Ok(())
}

/// What `free` must recognise as foreign, whatever it looks like; the environment says which.
fn bad_pointers() -> Result<(), String> {
    let c = CApi::load(library::path()?)?;
    let user = User { c: Some(c) };
    let ours = user.alloc(64) as usize;
    let on_stack = 0u64;
    static IN_DATA: u64 = 5;
    let pointers = [
        1usize,
        8,
        16,
        4096,
        usize::MAX,
        usize::MAX - 15,
        usize::MAX / 2 + 1,
        &raw const on_stack as usize,
        &raw const IN_DATA as usize,
        bad_pointers as *const () as usize,
        ours.wrapping_add(usize::MAX / 16),
        ours.wrapping_sub(usize::MAX / 16),
    ];
    let which: usize = std::env::var("BITMAG_CELL").unwrap_or_default().parse().unwrap_or(0);
    let Some(pointer) = pointers.get(which) else { return Err("no more".into()) };
    say(&format!("{pointer:#x}\n"));
    user.give_back(Free, *pointer as *mut u8, 0);
    say("returned\n");
    Ok(())
}

/// `BITMAG_FOREIGN=forward`: what another malloc gave goes back to it, from every entry that can be asked.
fn forwarded() -> Result<(), String> {
    let c = CApi::load(library::path()?)?;
    for size in [1usize, 64, 5000, 300_000] {
        // SAFETY: blocks of libc's malloc, each freed once, by way of ours.
        unsafe {
            let block = libc::malloc(size).cast::<u8>();
            ensure!(
                c.malloc_usable_size.is_some_and(|usable| usable(block) >= size),
                "usable size of libc's block"
            );
            c.free.ok_or("free")?(block);
            let block = libc::malloc(size).cast::<u8>();
            block.write(7);
            let grown = c.realloc.ok_or("realloc")?(block, 3 * size);
            ensure!(
                !grown.is_null() && grown.read() == 7,
                "realloc of libc's block gave {grown:p}"
            );
            c.free.ok_or("free")?(grown);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    verdict::main(SCENARIOS, || {
        let mut tests: Vec<Trial> = Vec::new();
        for (row, (fault, entry, _)) in TABLE.iter().enumerate() {
            for (kind, (name, ..)) in KINDS.iter().enumerate() {
                for checked in [false, true] {
                    let mode = if checked { "checked" } else { "normal" };
                    let name = format!("misuse::{mode}::{fault:?}::{entry:?}::{name}");
                    tests.push(test(name, move || check(row, kind, checked)));
                }
            }
        }
        for checked in [false, true] {
            tests.push(test(format!("misuse::correct_calls::checked_{checked}"), move || {
                let child = Child::scenario("correct").env("BITMAG_LIBRARY", library::path()?);
                let ended =
                    if checked { child.env("BITMAG_CHECK", "1") } else { child }.succeed()?;
                ensure!(ended.stderr.is_empty(), "{}", ended.describe());
                Ok(Verdict::Holds)
            }));
            tests.push(test(
                format!("misuse::foreign_pointers_of_all_kinds::checked_{checked}"),
                move || {
                    for which in 0..12 {
                        let child =
                            Child::scenario("bad_pointers").env("BITMAG_LIBRARY", library::path()?);
                        let child = child.env("BITMAG_CELL", which.to_string());
                        let ended = if checked { child.env("BITMAG_CHECK", "1") } else { child }
                            .within(20)
                            .run()?;
                        let wanted = format!(
                            "bitmag: foreign pointer: {}",
                            ended.stdout.lines().next().unwrap_or("?")
                        );
                        let good = ended.signal() == Some(libc::SIGABRT)
                            && ended.stderr.starts_with(&wanted);
                        ensure!(good, "{}", ended.describe());
                    }
                    Ok(Verdict::Holds)
                },
            ));
        }
        #[cfg(target_pointer_width = "64")]
        tests.push(test("misuse::a_pointer_where_the_window_passed_over", || {
            let child = Child::scenario("in_a_hole").env("BITMAG_LIBRARY", library::path()?);
            let ended = child.within(20).run()?;
            let pointer = ended.stdout.lines().next().unwrap_or("?");
            // Not told from one into the middle of something that was freed: either fault will do.
            let wanted = ["foreign pointer", "pointer inside a block"]
                .map(|fault| format!("bitmag: {fault}: {pointer}"));
            let good = ended.signal() == Some(libc::SIGABRT)
                && wanted.iter().any(|line| ended.stderr.starts_with(line));
            ensure!(good, "{}", ended.describe());
            Ok(Verdict::Holds)
        }));
        tests.push(test("misuse::foreign_pointers_ignored", || {
            for which in [0, 3, 8] {
                let child = Child::scenario("bad_pointers").env("BITMAG_LIBRARY", library::path()?);
                let ended = child
                    .env("BITMAG_CELL", which.to_string())
                    .env("BITMAG_FOREIGN", "ignore")
                    .succeed()?;
                ensure!(ended.stdout.contains("returned"), "{}", ended.describe());
            }
            Ok(Verdict::Holds)
        }));
        tests.push(test("misuse::foreign_pointers_forwarded", || {
            let child = Child::scenario("forwarded").env("BITMAG_LIBRARY", library::path()?);
            let ended = child.env("BITMAG_FOREIGN", "forward").succeed()?;
            ensure!(ended.stderr.is_empty(), "{}", ended.describe());
            Ok(Verdict::Holds)
        }));
        tests.push(test("misuse::bad_environment_is_named_and_ignored", || {
            let child = Child::scenario("correct").env("BITMAG_LIBRARY", library::path()?);
            let ended = child.env("BITMAG_FOREIGN", "perhaps").succeed()?;
            // Two copies read the environment in this process: the Rust face does not, unless it is used.
            ensure!(
                ended.stderr == "bitmag: ignoring BITMAG_FOREIGN=perhaps\n",
                "{}",
                ended.describe()
            );
            Ok(Verdict::Holds)
        }));
        tests
    })
}
