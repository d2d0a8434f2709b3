//! The two batch operations as refill and flush use them: expand 31 blocks, flush 31 blocks, per block.
//! The flush is the whole of it as far as bits go: locate, look at the slab's header, set the bit, see a double free.
//! Instructions are counted here too; what locks and headers cost beside it is the allocator's bench to say.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bitset::{BATCH, Backend, Engine, Located, Spacing, set_bit};
use crate::measure::{self, Candidate, nanoseconds};
use crate::{Random, Report, bitmap, plain};

const K: usize = 31;
const SIZE: usize = 64;
const BASE: usize = 0x10_0000_0000;

/// A magazine as the allocator lays it out.
#[repr(align(256))]
struct Magazine([*mut u8; 32]);

/// Bitmaps of 32 words, one after the other, each restored before a round.
struct Slabs {
    words: &'static [AtomicU64],
    origin: Vec<u64>,
}

const SLABS: usize = 64;
const SLAB_WORDS: usize = 32;

impl Slabs {
    fn new(word: impl Fn(&mut Random) -> u64) -> Slabs {
        let mut random = Random(12345);
        let origin: Vec<u64> = (0..SLABS * SLAB_WORDS).map(|_| word(&mut random)).collect();
        Slabs { words: bitmap(origin.iter().copied()), origin }
    }

    fn restore(&self) {
        for (word, origin) in self.words.iter().zip(&self.origin) {
            word.store(*origin, Ordering::Relaxed);
        }
    }
}

/// Exactly `n` bits of a word.
fn some(n: u32, random: &mut Random) -> u64 {
    let mut word = 0u64;
    while word.count_ones() < n {
        word |= 1 << (random.draw() >> 58);
    }
    word
}

/// The words to expand: a name, how they come about, whether they count as dense, and as sparse.
type Kind = (&'static str, fn(&mut Random) -> u64, bool, bool);

const KINDS: [Kind; 7] = [
    ("all of 64", |_| !0, true, false),
    ("60 of 64", |r| some(60, r), true, false),
    ("48 of 64", |r| some(48, r), true, false),
    ("32 of 64", |r| some(32, r), true, false),
    ("16 of 64", |r| some(16, r), false, true),
    ("4 of 64", |r| some(4, r), false, true),
    ("1 of 64", |r| some(1, r), false, true),
];

/// Expanding 31 blocks out of words of several densities.
pub(crate) fn expand(engines: &[Engine], report: &mut Report) {
    println!("\nexpand, 31 blocks, ns per block");
    for (name, word, dense, sparse) in KINDS {
        let slabs = Slabs::new(word);
        let mut magazine = Magazine([std::ptr::null_mut(); 32]);
        let top = magazine.0.as_mut_ptr_range().end;
        let size = black_box(SIZE);
        // One call for each slab; blocks taken.
        let round = |engine: Option<Engine>| {
            let slabs = slabs.words.chunks_exact(SLAB_WORDS);
            // SAFETY: this thread alone writes the words and the 31 slots below top.
            unsafe {
                match engine {
                    None => slabs.map(|words| plain::expand(words, K, BASE, size, top).taken).sum(),
                    Some(e) => slabs
                        .map(|words| e.expand(words, 0, K, BASE, size, top).taken)
                        .sum::<usize>(),
                }
            }
        };
        let mut least = vec![f64::MAX; engines.len() + 1];
        let all: Vec<Option<Engine>> =
            std::iter::once(None).chain(engines.iter().copied().map(Some)).collect();
        for _ in 0..1000 {
            for (engine, least) in all.iter().zip(&mut least) {
                slabs.restore();
                let engine = black_box(*engine);
                let start = std::time::Instant::now();
                let taken = black_box(round(engine));
                *least = least.min(start.elapsed().as_nanos() as f64 / (SLABS * K) as f64);
                assert_eq!(taken, SLABS * K);
            }
        }
        print!("{name:34}");
        for (engine, time) in all.iter().zip(&least) {
            print!(" {:>9} {time:8.2}", engine.map_or("loop", |e| e.backend().name()));
        }
        println!();
        for (i, engine) in engines.iter().enumerate().skip(1) {
            let backend = engine.backend();
            let reach = if backend == Backend::Avx512 { 5.0 } else { 3.5 };
            if dense && backend != Backend::Neon {
                let what = format!("expand, {name}, {backend:?} over word by word");
                report.at_least(what, least[0] / least[i + 1], reach);
            }
            if sparse {
                let what = format!("expand, {name}, {backend:?} against scalar");
                report.at_most(what, least[i + 1] / least[1], 1.0, "x");
            }
        }
    }
}

/// A unit's record as the allocator has it: who owns it, and its bitmap; 17 cache lines, so that neighbours do not
/// share sets.
#[repr(C, align(64))]
struct Record {
    class_and_owner: AtomicU64,
    _rest: [u64; 7],
    local: [AtomicU64; 64],
    _remote: [u64; 64],
}

const CLASS_AND_OWNER: u64 = 0x0004_0000_0001;

/// A heap as a flush sees it.
struct Heap {
    records: Vec<Record>,
}

impl Heap {
    fn new(units: usize) -> Heap {
        let record = |_| Record {
            class_and_owner: AtomicU64::new(CLASS_AND_OWNER),
            _rest: [0; 7],
            local: [const { AtomicU64::new(0) }; 64],
            _remote: [0; 64],
        };
        Heap { records: (0..units).map(record).collect() }
    }

    /// The whole of a flush of own blocks. Returns whether anything was wrong.
    #[inline(never)]
    fn flush(&self, engine: Engine, pointers: &[*mut u8; K], spacing: Spacing) -> bool {
        let mut located = [const { std::mem::MaybeUninit::<Located>::uninit() }; BATCH];
        // SAFETY: Located is two integers; locate writes those that are read below.
        let located = unsafe { &mut *located.as_mut_ptr().cast::<[Located; BATCH]>() };
        let units = self.records.len();
        // SAFETY: K pointers lie there.
        let faults = unsafe { engine.locate(pointers.as_ptr(), K, BASE, units, &spacing, located) };
        if faults != 0 {
            return true;
        }
        let wrong = located[..K].iter().position(|place| {
            // SAFETY: locate found the unit below units, and the index below the blocks of a unit.
            unsafe {
                let record = self.records.get_unchecked(place.unit as usize);
                record.class_and_owner.load(Ordering::Relaxed) != CLASS_AND_OWNER
                    || set_bit(record.local.get_unchecked(place.word()), place.index)
            }
        });
        wrong.is_some()
    }

    /// The naive flush: a locked OR for each block.
    #[inline(never)]
    fn flush_locked(&self, pointers: &[*mut u8; K], spacing: Spacing) -> bool {
        for pointer in pointers {
            let delta = pointer.addr() - BASE;
            let (unit, offset) = (delta >> 16, delta & 0xffff);
            let index = spacing.index(offset);
            let Some(record) = self.records.get(unit) else {
                return true;
            };
            if record.class_and_owner.load(Ordering::Relaxed) != CLASS_AND_OWNER
                || index * spacing.size() != offset
            {
                return true;
            }
            let bit = 1 << (index % 64);
            let word = &record.local[index / 64];
            if word.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
                return true;
            }
        }
        false
    }

    fn clear(&self) {
        self.records.iter().flat_map(|r| &r.local).for_each(|w| w.store(0, Ordering::Relaxed));
    }

    /// Batches of different blocks, so that all can be flushed one after the other; in random or in address order.
    fn batches(&self, in_order: bool) -> Vec<[*mut u8; K]> {
        let blocks = self.records.len() * 65536 / SIZE;
        let mut order: Vec<usize> = (0..blocks).collect();
        let mut random = Random(99);
        if !in_order {
            for i in (1..blocks).rev() {
                order.swap(i, random.draw() as usize % (i + 1));
            }
        }
        let pointer = |i: &usize| (BASE + i * SIZE) as *mut u8;
        order.chunks_exact(K).take(4096).map(|c| std::array::from_fn(|i| pointer(&c[i]))).collect()
    }
}

/// Flushing 31 blocks of own slabs.
pub(crate) fn flush(engines: &[Engine], report: &mut Report) {
    println!("\nflush of 31 blocks of own slabs, ns per block");
    let spacing = black_box(Spacing::new(SIZE));
    for (units, in_order) in [(1, true), (1, false), (16, false), (128, false), (1024, false)] {
        let heap = Heap::new(units);
        let batches = heap.batches(in_order);
        let mut candidates = vec![Candidate::new("locked", |n: usize| {
            for batch in batches.iter().cycle().take(n) {
                black_box(heap.flush_locked(batch, spacing));
            }
        })];
        for &engine in engines {
            let (heap, batches) = (&heap, &batches);
            candidates.push(Candidate::new(engine.backend().name(), move |n: usize| {
                for batch in batches.iter().cycle().take(n) {
                    black_box(heap.flush(black_box(engine), batch, spacing));
                }
            }));
        }
        // Rounds of one pass each, with the bitmaps cleared before it: a bit that is set would end a flush.
        let n = batches.len();
        let mut least = vec![f64::MAX; candidates.len()];
        for _ in 0..if units > 100 { 20 } else { 300 } {
            for (candidate, least) in candidates.iter_mut().zip(&mut least) {
                heap.clear();
                let start = std::time::Instant::now();
                (candidate.run)(n);
                *least = least.min(start.elapsed().as_nanos() as f64 / (n * K) as f64);
                assert_eq!(count(&heap), n * K, "{}", candidate.name);
            }
        }
        let order = if in_order { "in order" } else { "random" };
        print!("{:34}", format!("{units} slabs, {order}"));
        for (candidate, time) in candidates.iter().zip(&least) {
            print!(" {:>9} {time:8.2}", candidate.name);
        }
        println!();
        if !in_order {
            for (i, engine) in engines.iter().enumerate().skip(1) {
                let what =
                    format!("flush, random, {units} slabs, {:?}, per block", engine.backend());
                // 1.5 where a locked OR each takes 4.8: the same share of what it takes here.
                report.at_most(what, least[i + 1] / least[0], 1.5 / 4.8, "x");
            }
        }
    }
}

fn count(heap: &Heap) -> usize {
    heap.records
        .iter()
        .flat_map(|r| &r.local)
        .map(|w| w.load(Ordering::Relaxed).count_ones() as usize)
        .sum()
}

/// Instruction counts of the batch operations and of a search.
pub(crate) fn instructions(engines: &[Engine], report: &mut Report) {
    if measure::instructions(|| ()).is_none() {
        println!("\ninstructions: not run (no single-stepping here)");
        return;
    }
    println!("\ninstructions (the call included)");
    for &engine in engines {
        let backend = engine.backend();
        let name = backend.name();
        let counted = |what: &str, per: f64, once: &mut dyn FnMut()| {
            let harness = measure::instructions(|| ()).unwrap_or(f64::NAN);
            let n = (measure::instructions(once).unwrap_or(f64::NAN) - harness) / per;
            println!("{name:8} {what:44} {n:8.2}");
            n
        };
        for size in [8, 64, 512] {
            let words = bitmap((0..size).map(|i| if i + 1 == size { 1 } else { 0 }));
            counted(&format!("first set, {size} words, per word"), size as f64, &mut || {
                black_box(engine.first_set(black_box(words)));
            });
        }
        for (kind, word, ..) in KINDS {
            let slabs = Slabs::new(word);
            let mut magazine = Magazine([std::ptr::null_mut(); 32]);
            let top = magazine.0.as_mut_ptr_range().end;
            slabs.restore();
            let mut chunks = slabs.words.chunks_exact(SLAB_WORDS);
            let n = counted(&format!("expand 31, {kind}, per block"), K as f64, &mut || {
                let words = chunks.next().unwrap_or(&[]);
                // SAFETY: this thread alone writes the words and the 31 slots below top.
                unsafe { black_box(engine.expand(words, 0, K, BASE, SIZE, top).taken) };
            });
            if backend == Backend::Avx2 && kind == "all of 64" {
                report.at_most(
                    "expand alone, dense, AVX2, instructions (limit: whole refill)".into(),
                    n,
                    4.0,
                    "",
                );
            }
            if backend == Backend::Avx2 && kind == "4 of 64" {
                report.at_most(
                    "expand alone, 4 of 64, AVX2, instructions (limit: whole refill)".into(),
                    n,
                    9.0,
                    "",
                );
            }
        }
        let heap = Heap::new(16);
        let batches = heap.batches(false);
        let spacing = black_box(Spacing::new(SIZE));
        let mut at = 0;
        let n = counted("flush of 31 random blocks, per block", K as f64, &mut || {
            black_box(heap.flush(engine, &batches[at], spacing));
            at += 1;
        });
        if backend != Backend::Scalar {
            let what = format!("flush of 31 random blocks, {backend:?}, instructions per block");
            report.at_most(what, n, 16.0, "");
        }
        let mut out = [Located::default(); BATCH];
        counted("locate of 31, per block", K as f64, &mut || {
            // SAFETY: K pointers lie there.
            unsafe {
                black_box(engine.locate(batches[0].as_ptr(), K, BASE, 16, &spacing, &mut out));
            }
        });
    }
    let _ = nanoseconds;
}
