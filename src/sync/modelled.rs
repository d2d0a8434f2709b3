//! Atomics that a loom model can follow, with the layout of the core library's.
//!
//! Outside a model (`check`) they are core's. Inside, each operation goes to a loom atomic that stands for the address: core
//! memory keeps what it was before the model, and each execution starts from it. So the shipped functions run on the shipped
//! structures, in mapped memory and in statics, and loom sees every access. Accesses by assembly would pass it by: under
//! `cfg(loom)` their twins in Rust are compiled, and the models use the scalar bitset engine.
//!
//! **SeqCst.** loom gives sequentially consistent accesses no order beyond acquire and release. Here such an access has a
//! SeqCst fence, which loom does know, on each side: so two of them are ordered as the language promises, and a weaker one
//! is not. (The fences order other accesses around them too, which the language does not promise.)
//!
//! **Addresses.** A loom atomic must be made before the threads that use it. Which addresses a model uses is found by trying:
//! one that is met too late is noted, and the model starts over with it.

use core::sync::atomic as real;
use loom::sync::atomic::AtomicU64 as Cell;
pub use real::{Ordering, compiler_fence};
use std::boxed::Box;
use std::cell::{Cell as Flag, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// What stands for core memory in the execution under way.
struct Execution {
    cells: BTreeMap<usize, Rc<Cell>>,
    /// Threads were started: no more cells can be made.
    sealed: bool,
}

std::thread_local! {
    // loom runs the threads of a model as coroutines of the thread that asked for it.
    static EXECUTION: RefCell<Option<Execution>> = const { RefCell::new(None) };
    /// The addresses that the model uses, with their sizes in bytes.
    static KNOWN: RefCell<BTreeMap<usize, usize>> = const { RefCell::new(BTreeMap::new()) };
    /// An address was met too late: what still runs while the stacks unwind does nothing.
    static UNWINDING: Flag<bool> = const { Flag::new(false) };
}

/// What core memory holds.
fn initial(address: usize, bytes: usize) -> u64 {
    // SAFETY: the address is an atomic's of that size, alive for as long as the model.
    unsafe {
        match bytes {
            1 => u64::from((*(address as *const real::AtomicU8)).load(Ordering::Relaxed)),
            4 => u64::from((*(address as *const real::AtomicU32)).load(Ordering::Relaxed)),
            _ => (*(address as *const real::AtomicU64)).load(Ordering::Relaxed),
        }
    }
}

enum Found {
    /// No model is running.
    Outside,
    Cell(Rc<Cell>),
    /// The execution is being given up.
    Nothing,
}

fn find(address: usize, bytes: usize) -> Found {
    EXECUTION.with_borrow_mut(|execution| {
        let Some(execution) = execution else { return Found::Outside };
        if UNWINDING.get() || std::thread::panicking() {
            return Found::Nothing;
        }
        if let Some(cell) = execution.cells.get(&address) {
            return Found::Cell(cell.clone());
        }
        KNOWN.with_borrow_mut(|known| known.insert(address, bytes));
        if execution.sealed {
            UNWINDING.set(true);
            return Found::Nothing;
        }
        let cell = Rc::new(Cell::new(initial(address, bytes)));
        execution.cells.insert(address, cell.clone());
        Found::Cell(cell)
    })
}

/// Runs a loom operation, with the order that SeqCst stands for.
fn ordered<R>(order: Ordering, operation: impl FnOnce() -> R) -> R {
    if order == Ordering::SeqCst {
        loom::sync::atomic::fence(order);
    }
    let result = operation();
    if order == Ordering::SeqCst {
        loom::sync::atomic::fence(order);
    }
    result
}

/// A fence.
pub fn fence(order: Ordering) {
    if EXECUTION.with_borrow(|execution| execution.is_none()) {
        real::fence(order);
    } else if !UNWINDING.get() && !std::thread::panicking() {
        loom::sync::atomic::fence(order);
    }
}

/// Runs `model` under loom with every order of its threads' steps in which the scheduler interrupts a thread at most `bound`
/// times (`LOOM_MAX_PREEMPTIONS` overrides it). One model at a time, since all start from the same core memory.
pub(crate) fn check(bound: usize, model: impl Fn() + Send + Sync + 'static) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let model = Arc::new(model);
    KNOWN.with_borrow_mut(BTreeMap::clear);
    loop {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(bound));
        builder.max_branches = 100_000;
        let model = model.clone();
        UNWINDING.set(false);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            builder.check(move || {
                let cells = KNOWN.with_borrow(|known| {
                    known
                        .iter()
                        .map(|(address, bytes)| {
                            (*address, Rc::new(Cell::new(initial(*address, *bytes))))
                        })
                        .collect()
                });
                EXECUTION.set(Some(Execution { cells, sealed: false }));
                model();
                EXECUTION.set(None);
            });
        }));
        EXECUTION.set(None);
        match outcome {
            Ok(()) => return,
            Err(_) if UNWINDING.get() => {}
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// Starts a thread of the model.
pub(crate) fn spawn<T: 'static>(body: impl FnOnce() -> T + 'static) -> loom::thread::JoinHandle<T> {
    EXECUTION.with_borrow_mut(|execution| {
        if let Some(execution) = execution {
            execution.sealed = true;
        }
    });
    loom::thread::spawn(body)
}

/// Ends an execution that met an address too late.
fn give_up() {
    if !std::thread::panicking() {
        resume_unwind(Box::new("an address that the model did not know"));
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, $to:expr, $from:expr) => {
        #[doc = "Core's atomic of that name, to be followed by a model."]
        #[repr(transparent)]
        #[derive(Debug)]
        pub struct $name(real::$name);

        impl Default for $name {
            fn default() -> Self {
                Self::new($from(0))
            }
        }

        #[allow(dead_code, missing_docs, reason = "the interface of core's")]
        impl $name {
            pub const fn new(value: $value) -> Self {
                Self(real::$name::new(value))
            }
            pub const fn as_ptr(&self) -> *mut $value {
                self.0.as_ptr()
            }
            /// # Safety
            /// That of core's.
            pub const unsafe fn from_ptr<'a>(place: *mut $value) -> &'a Self {
                // SAFETY: the caller's contract; the layouts are the same.
                unsafe { &*place.cast() }
            }
            pub fn load(&self, order: Ordering) -> $value {
                self.go(order, |own| own.load(order), |cell| $from(cell.load(order)))
            }
            pub fn store(&self, value: $value, order: Ordering) {
                self.go(order, |own| own.store(value, order), |cell| cell.store($to(value), order))
            }
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.go(
                    order,
                    |own| own.swap(value, order),
                    |cell| $from(cell.swap($to(value), order)),
                )
            }
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                order: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                let through = |cell: &Cell| {
                    let result = cell.compare_exchange($to(old), $to(new), order, failed);
                    result.map($from).map_err($from)
                };
                self.try_go(order, |own| own.compare_exchange(old, new, order, failed), through)
                    .unwrap_or(Err(old))
            }
            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                order: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(old, new, order, failed)
            }
            fn go<R: Zero>(
                &self,
                order: Ordering,
                outside: impl FnOnce(&real::$name) -> R,
                inside: impl FnOnce(&Cell) -> R,
            ) -> R {
                self.try_go(order, outside, inside).unwrap_or(R::ZERO)
            }
            fn try_go<R>(
                &self,
                order: Ordering,
                outside: impl FnOnce(&real::$name) -> R,
                inside: impl FnOnce(&Cell) -> R,
            ) -> Option<R> {
                match find(core::ptr::from_ref(self).addr(), size_of::<$value>()) {
                    Found::Outside => Some(outside(&self.0)),
                    Found::Cell(cell) => Some(ordered(order, || inside(&cell))),
                    Found::Nothing => {
                        give_up();
                        None
                    }
                }
            }
        }
    };
}

/// What an operation answers while an execution is given up.
trait Zero {
    const ZERO: Self;
}
impl Zero for () {
    const ZERO: Self = ();
}
impl Zero for bool {
    const ZERO: Self = false;
}
impl<T> Zero for *mut T {
    const ZERO: Self = core::ptr::null_mut();
}

macro_rules! integer {
    ($name:ident, $value:ty) => {
        impl Zero for $value {
            const ZERO: Self = 0;
        }
        atomic!($name, $value, |value: $value| value as u64, |value: u64| value as $value);
        integer!(@ $name, $value, fetch_add fetch_sub fetch_or fetch_and fetch_xor fetch_min fetch_max);
    };
    (@ $name:ident, $value:ty, $($operation:ident)*) => {
        #[allow(dead_code, missing_docs, reason = "the interface of core's")]
        impl $name {
            $(pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                self.go(order, |own| own.$operation(value, order), |cell| {
                    cell.$operation(value as u64, order) as $value
                })
            })*
        }
    };
}

integer!(AtomicU8, u8);
integer!(AtomicU32, u32);
integer!(AtomicU64, u64);
integer!(AtomicUsize, usize);
atomic!(AtomicBool, bool, |value: bool| u64::from(value), |value: u64| value != 0);

/// Core's atomic of that name, outside models alone.
#[repr(transparent)]
#[derive(Debug)]
pub struct AtomicPtr<T>(real::AtomicPtr<T>);

#[allow(dead_code, missing_docs, reason = "the interface of core's")]
impl<T> AtomicPtr<T> {
    pub const fn new(value: *mut T) -> Self {
        Self(real::AtomicPtr::new(value))
    }
    /// # Safety
    /// That of core's.
    pub const unsafe fn from_ptr<'a>(place: *mut *mut T) -> &'a Self {
        // SAFETY: the caller's contract; the layouts are the same.
        unsafe { &*place.cast() }
    }
    pub fn load(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }
    pub fn store(&self, value: *mut T, order: Ordering) {
        self.0.store(value, order);
    }
    pub fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        self.0.swap(value, order)
    }
    pub fn compare_exchange(
        &self,
        old: *mut T,
        new: *mut T,
        order: Ordering,
        failed: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.0.compare_exchange(old, new, order, failed)
    }
}

/// What every model of the allocator starts from: initialised, with the scalar bitset engine, 128 units committed, none in use,
/// and three records of threads, in nobody's hands.
#[cfg(test)]
pub(crate) fn ready() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let config = crate::Config::new().backend(crate::Backend::Scalar);
        assert!(crate::init::ensure(&config));
        let units = crate::arena::units::claim(128, 1, crate::hit::token());
        crate::arena::units::release(units.unwrap(), 128);
        crate::thread::make_for_models();
    });
}
