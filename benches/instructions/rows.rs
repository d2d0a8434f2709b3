//! The workloads behind the instruction counts, written once: for both faces of bitmag, for the same loops around nothing, and for
//! the lab's peers.
//! A row has a part that prepares (not counted) and a part that is counted, each for two lengths; what one operation costs is the
//! difference of the two counts over the difference of the lengths, less what the same loop costs around functions that only return.

use std::arch::naked_asm;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::mpsc;

/// A C allocation function of each kind.
#[derive(Clone, Copy)]
pub struct Face {
    pub malloc: unsafe extern "C" fn(usize) -> *mut u8,
    pub free: unsafe extern "C" fn(*mut u8),
    /// The free that is told the size; `free` where an allocator has none.
    pub free_sized: unsafe extern "C" fn(*mut u8, usize),
    pub calloc: unsafe extern "C" fn(usize, usize) -> *mut u8,
    pub realloc: unsafe extern "C" fn(*mut u8, usize) -> *mut u8,
    pub aligned_alloc: unsafe extern "C" fn(usize, usize) -> *mut u8,
    /// What a new thread has to call first.
    pub enter: unsafe extern "C" fn(),
}

/// One instruction: what remains of a call when the callee does nothing.
#[unsafe(naked)]
unsafe extern "C" fn only_return() {
    naked_asm!("ret");
}

impl Face {
    /// The face whose functions only return. Nothing may look at what they returned.
    #[allow(clippy::missing_transmute_annotations, reason = "the fields of `Face` say the types")]
    pub fn nothing() -> Face {
        // SAFETY: `ret` is right for every C signature with register arguments; the result is whatever lay in the register, and
        // no row reads through it.
        unsafe {
            let f = only_return as unsafe extern "C" fn();
            Face {
                malloc: std::mem::transmute::<unsafe extern "C" fn(), _>(f),
                free: std::mem::transmute::<unsafe extern "C" fn(), _>(f),
                free_sized: std::mem::transmute::<unsafe extern "C" fn(), _>(f),
                calloc: std::mem::transmute::<unsafe extern "C" fn(), _>(f),
                realloc: std::mem::transmute::<unsafe extern "C" fn(), _>(f),
                aligned_alloc: std::mem::transmute::<unsafe extern "C" fn(), _>(f),
                enter: f,
            }
        }
    }
}

// SAFETY: raw pointers to blocks, which every thread may free.
unsafe impl Send for Blocks {}
// SAFETY: as above.
unsafe impl Send for State {}

struct Blocks(Vec<*mut u8>);

/// What a row's counted part works on.
pub struct State {
    face: Face,
    row: &'static Row,
    /// Operations of the counted part.
    count: usize,
    size: usize,
    blocks: Vec<*mut u8>,
    /// Which block comes next, where the order is not the order of allocation.
    order: Vec<u32>,
    /// How large the next block is, where sizes vary.
    sizes: Vec<u32>,
}

/// One row of the table.
pub struct Row {
    pub name: &'static str,
    /// Operations of the shorter and the longer run.
    pub lengths: [usize; 2],
    /// Calls in one operation.
    pub calls: usize,
    prepare: fn(&mut State),
    counted: fn(&mut State),
    size: usize,
}

impl Row {
    /// Everything up to the counted part.
    pub fn prepare(&'static self, face: Face, count: usize) -> State {
        let mut state = State {
            face,
            row: self,
            count,
            size: self.size,
            blocks: Vec::new(),
            order: Vec::new(),
            sizes: Vec::new(),
        };
        (self.prepare)(&mut state);
        state
    }
}

impl State {
    /// The counted part: callgrind counts what happens inside this function.
    #[inline(never)]
    pub fn run(&mut self) {
        (self.row.counted)(self);
    }

    /// The counted part on a thread that has not called any allocator before: `std::thread` would allocate on it first.
    pub fn on_a_new_thread(mut self) {
        extern "C" fn body(state: *mut c_void) -> *mut c_void {
            // SAFETY: the state of the thread that waits for this one; and the first call of this thread.
            let state = unsafe { &mut *state.cast::<State>() };
            // SAFETY: as above.
            unsafe { (state.face.enter)() };
            state.run();
            null_mut()
        }
        let mut thread = 0;
        // SAFETY: the state outlives the thread, and nobody else uses it meanwhile.
        unsafe {
            let failed =
                libc::pthread_create(&mut thread, null(), body, (&raw mut self).cast::<c_void>());
            assert_eq!(failed, 0, "no thread");
            libc::pthread_join(thread, null_mut());
        }
    }
}

/// The row of that name.
pub fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("the table has the row")
}

const fn entry(
    name: &'static str,
    lengths: [usize; 2],
    calls: usize,
    size: usize,
    prepare: fn(&mut State),
    counted: fn(&mut State),
) -> Row {
    Row { name, lengths, calls, prepare, counted, size }
}

/// All rows that C functions can run.
pub static ROWS: [Row; 15] = [
    entry("malloc_hit", [2, 10], 1, 64, stocked, malloc),
    entry("free_hit", [2, 10], 1, 64, holding, free),
    entry("free_sized_hit", [2, 10], 1, 64, holding, free_sized),
    entry("malloc_4096", [0, 1], 1, 4096, stocked, malloc),
    entry("free_4096", [1, 3], 1, 4096, holding, free),
    entry("free_sized_4096", [1, 3], 1, 4096, holding, free_sized),
    entry("aligned_alloc", [1000, 2000], 2, 256, warm, aligned_pairs),
    entry("thousand", [10_000, 20_000], 2, 64, thousand_ready, thousand),
    entry("shuffled", [100_000, 200_000], 2, 64, shuffled_ready, shuffled),
    entry("mixed", [100_000, 200_000], 2, 1024, mixed_ready, mixed),
    entry("remote_free", [50_000, 100_000], 1, 64, allocated_elsewhere, free),
    entry("remote_refill", [50_000, 100_000], 1, 64, freed_elsewhere, malloc),
    entry("calloc", [1000, 2000], 2, 64, warm, calloc_pairs),
    entry("first_malloc", [0, 1], 1, 64, one_slot, malloc),
    entry("realloc", [1000, 2000], 3, 64, warm, realloc_triples),
];

/// Allocates and frees until every cache on the way has blocks and room.
fn warm(s: &mut State) {
    // SAFETY: blocks of this face, freed once.
    unsafe {
        for size in [s.size, 2 * s.size] {
            let blocks: Vec<_> = (0..200).map(|_| (s.face.malloc)(size)).collect();
            blocks.iter().for_each(|&block| (s.face.free)(block));
            let pair = [(s.face.malloc)(size), (s.face.malloc)(size)];
            pair.iter().for_each(|&block| (s.face.free)(block));
        }
    }
}

/// Warm, with more blocks at hand than the counted part takes.
fn stocked(s: &mut State) {
    warm(s);
    s.blocks = vec![null_mut(); s.count];
    // The first free of a list that was just turned over.
    // SAFETY: a block of this face.
    unsafe {
        let block = (s.face.malloc)(s.size);
        (s.face.free)(block);
    }
}

fn one_slot(s: &mut State) {
    warm(s);
    s.blocks = vec![null_mut(); 1];
}

/// Warm, with as many blocks in hand as the counted part frees and with room for them. Others stay allocated before and behind them:
/// whatever the allocator, no cache of its is full then, and no page becomes empty, which some allocators look into at once.
fn holding(s: &mut State) {
    warm(s);
    let longest = s.row.lengths[1];
    // SAFETY: allocation has no precondition.
    unsafe {
        for _ in 0..OTHERS {
            (s.face.malloc)(s.size);
        }
        s.blocks = (0..longest).map(|_| (s.face.malloc)(s.size)).collect();
        (s.face.malloc)(s.size);
    }
}

/// More than the warming up left in any cache.
const OTHERS: usize = 420;

fn malloc(s: &mut State) {
    for slot in &mut s.blocks[..s.count] {
        // SAFETY: allocation has no precondition.
        *slot = unsafe { (s.face.malloc)(s.size) };
    }
}

fn free(s: &mut State) {
    for &block in &s.blocks[..s.count] {
        // SAFETY: each block is freed once.
        unsafe { (s.face.free)(block) };
    }
}

fn free_sized(s: &mut State) {
    for &block in &s.blocks[..s.count] {
        // SAFETY: each block is freed once, with its size.
        unsafe { (s.face.free_sized)(block, s.size) };
    }
}

fn aligned_pairs(s: &mut State) {
    for _ in 0..s.count {
        // SAFETY: the block is freed once.
        unsafe { (s.face.free)((s.face.aligned_alloc)(64, s.size)) };
    }
}

fn calloc_pairs(s: &mut State) {
    for _ in 0..s.count {
        // SAFETY: the block is freed once.
        unsafe { (s.face.free)((s.face.calloc)(1, s.size)) };
    }
}

fn realloc_triples(s: &mut State) {
    for _ in 0..s.count {
        // SAFETY: the block is the row's own until it is freed.
        unsafe { (s.face.free)((s.face.realloc)((s.face.malloc)(s.size), 2 * s.size)) };
    }
}

fn thousand_ready(s: &mut State) {
    s.blocks = vec![null_mut(); 1000];
    let count = std::mem::replace(&mut s.count, 3000);
    thousand(s);
    s.count = count;
}

/// 1,000 allocations, then 1,000 frees in the same order.
fn thousand(s: &mut State) {
    for _ in 0..s.count / 1000 {
        for slot in &mut s.blocks {
            // SAFETY: allocation has no precondition.
            *slot = unsafe { (s.face.malloc)(s.size) };
        }
        for &block in &s.blocks {
            // SAFETY: each block is freed once.
            unsafe { (s.face.free)(block) };
        }
    }
}

/// Numbers that are the same everywhere: Knuth's MMIX generator.
struct Numbers(u64);
impl Numbers {
    fn below(&mut self, bound: usize) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * bound as u64) >> 32) as u32
    }
}

const SHUFFLED: usize = 100_000;

fn shuffled_ready(s: &mut State) {
    let mut numbers = Numbers(1);
    s.blocks = vec![null_mut(); SHUFFLED];
    s.order = (0..SHUFFLED as u32).collect();
    for i in (1..SHUFFLED).rev() {
        s.order.swap(i, numbers.below(i + 1) as usize);
    }
    let count = std::mem::replace(&mut s.count, SHUFFLED);
    shuffled(s);
    s.count = count;
}

/// 100,000 allocations, then their frees in another order.
fn shuffled(s: &mut State) {
    for _ in 0..s.count / SHUFFLED {
        for slot in &mut s.blocks {
            // SAFETY: allocation has no precondition.
            *slot = unsafe { (s.face.malloc)(s.size) };
        }
        for &index in &s.order {
            // SAFETY: each block is freed once.
            unsafe { (s.face.free)(s.blocks[index as usize]) };
        }
    }
}

const LIVE: usize = 10_000;

fn mixed_ready(s: &mut State) {
    let mut numbers = Numbers(2);
    // SAFETY: allocation has no precondition.
    s.blocks =
        (0..LIVE).map(|_| unsafe { (s.face.malloc)(1 + numbers.below(s.size) as usize) }).collect();
    let longest = s.row.lengths[1];
    s.order = (0..2 * longest).map(|_| numbers.below(LIVE)).collect();
    s.sizes = (0..2 * longest).map(|_| 1 + numbers.below(s.size)).collect();
    let count = std::mem::replace(&mut s.count, longest);
    mixed(s);
    s.order.drain(..longest);
    s.sizes.drain(..longest);
    s.count = count;
}

/// A block among the live ones is freed and another of any size put in its place.
fn mixed(s: &mut State) {
    for (&index, &size) in s.order.iter().zip(&s.sizes).take(s.count) {
        let slot = &mut s.blocks[index as usize];
        // SAFETY: the block is freed once, and replaced.
        unsafe {
            (s.face.free)(*slot);
            *slot = (s.face.malloc)(size as usize);
        }
    }
}

/// Runs a job on a thread that outlives it, so that what the thread's exit does is not part of any count.
fn elsewhere(face: Face, job: impl FnOnce() -> Blocks + Send + 'static) -> Blocks {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        // SAFETY: the first call of the thread.
        unsafe { (face.enter)() };
        let _ = done.send(job());
        loop {
            std::thread::park();
        }
    });
    wait.recv().expect("the thread sends its answer")
}

fn allocated_elsewhere(s: &mut State) {
    warm(s);
    let (face, size, count) = (s.face, s.size, s.row.lengths[1]);
    let allocate = move || {
        // SAFETY: allocation has no precondition.
        Blocks((0..count).map(|_| unsafe { (face.malloc)(size) }).collect())
    };
    s.blocks = elsewhere(face, allocate).0;
}

fn freed_elsewhere(s: &mut State) {
    let (face, size) = (s.face, s.size);
    // SAFETY: allocation has no precondition.
    let blocks = Blocks((0..s.row.lengths[1]).map(|_| unsafe { (face.malloc)(size) }).collect());
    s.blocks = elsewhere(face, move || {
        let blocks = { blocks };
        // SAFETY: each block is freed once.
        blocks.0.iter().for_each(|&block| unsafe { (face.free)(block) });
        blocks
    })
    .0;
}
