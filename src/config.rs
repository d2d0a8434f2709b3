//! Settings: what a user may choose, as constants in Rust or from the environment for the C face.
//!
//! Settings are read by slow paths only; the hit path has no branch for any of them. The settings
//! of the process's first slow call are kept; later ones are ignored.

use crate::bitset::Backend;
use crate::trace::{Recorder, record};
use core::alloc::Layout;

/// What to do with a pointer that is not ours, when one is passed to the C face's `free`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Foreign {
    /// One line on stderr, then abort.
    #[default]
    Abort,
    /// Pass it on to the next `free` in the order of symbol look-up.
    Forward,
    /// Do nothing: the block leaks.
    Ignore,
}

/// Where huge pages (2 MiB) are asked for.
///
/// Blocks of up to 2 MiB never get any from bitmag: a huge page that is purged in part is filled up again by the system a
/// while later, and one that holds a few small blocks is resident as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
#[non_exhaustive]
pub enum HugePages {
    /// Nowhere, whatever the system does by default.
    Never,
    /// Nowhere, except that blocks of more than 256 MiB, which have a mapping of their own, get what the system gives by default.
    #[default]
    Auto,
    /// In blocks of more than 2 MiB, before they are touched for the first time. Such a block is resident in steps of 2 MiB.
    Always,
}

/// What `Config::prewarm` was given, and what does it.
pub(crate) type Prewarm = (fn(&[(Layout, usize)]) -> bool, &'static [(Layout, usize)]);

/// What reads the environment into the settings, and answers with what is to be called when the process ends.
pub(crate) type Environment = fn(&mut Config) -> Option<extern "C" fn()>;

/// Milliseconds between two rounds of the background thread, and what creates it: whether it runs.
pub(crate) type Background = (u32, fn() -> bool);

/// Settings of an allocator.
///
/// ```
/// use bitmag::{Bitmag, Config};
/// // Every call is checked; double, interior, foreign and wrongly sized frees abort at once.
/// static CHECKED: Bitmag = Bitmag::with(Config::new().check(true));
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Config {
    pub(crate) check: bool,
    /// A function, as in `prewarm`.
    pub(crate) environment: Option<Environment>,
    pub(crate) foreign: Foreign,
    pub(crate) backend: Option<Backend>,
    /// Percent of the bytes in use that may stay free and resident, or `NEVER`.
    pub(crate) purge_share: u32,
    /// Bytes that may stay free and resident whatever is in use.
    pub(crate) purge_floor: usize,
    pub(crate) huge_pages: HugePages,
    /// Bytes made resident with each growth, 0: none.
    pub(crate) populate: usize,
    /// Bytes of address space taken at the start.
    pub(crate) reserve: usize,
    /// Bytes from which on little may stay free, 0: no such limit.
    pub(crate) soft_limit: usize,
    /// What is made ready at the start. A function, so that programs that do not ask for it do not have it.
    pub(crate) prewarm: Option<Prewarm>,
    /// The background thread. A function, as in `prewarm`.
    pub(crate) background: Option<Background>,
    /// Set by the C face: it may register a pthread key, because its library is never unloaded.
    pub(crate) c_face: bool,
    /// Set by the C face: who writes a trace. Once the settings hold, whoever does so.
    pub(crate) recorder: Option<Recorder>,
}

impl Config {
    /// As a share: nothing goes back to the system unless it is asked for by [`purge`](crate::purge)
    /// or [`maintain`](crate::maintain).
    pub const NEVER: u32 = u32::MAX;

    /// The defaults: unchecked, best backend that the processor has, environment not read.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            check: false,
            environment: None,
            foreign: Foreign::Abort,
            backend: None,
            purge_share: 12,
            purge_floor: 16 << 20,
            huge_pages: HugePages::Auto,
            populate: 0,
            reserve: 0,
            soft_limit: 0,
            prewarm: None,
            background: None,
            c_face: false,
            recorder: None,
        }
    }

    /// Checked mode: every call takes the slow path, and every misuse that can be found is found at
    /// once. `BITMAG_CHECK=1`.
    #[must_use]
    pub const fn check(mut self, on: bool) -> Self {
        self.check = on;
        self
    }

    /// What the C face does with a pointer that is not ours. The Rust face always aborts.
    /// `BITMAG_FOREIGN`.
    #[must_use]
    pub const fn foreign(mut self, foreign: Foreign) -> Self {
        self.foreign = foreign;
        self
    }

    /// Forces a backend of the bitset engine; ignored if the processor lacks it. `BITMAG_BACKEND`.
    #[must_use]
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// How much memory may stay free and resident, in percent of what is in use: 12 unless set,
    /// [`Config::NEVER`] for all of it. Beyond that, and the floor, pages go back to the system, a
    /// bounded number on the way of a slow call, never on a hit. `BITMAG_PURGE_SHARE`.
    ///
    /// What a peak needed stays too, up to eight floors, while the program does little but free and
    /// allocate in waves; a program that needs less and goes on replacing blocks gives it back. With 0
    /// no peak is remembered.
    ///
    /// ```
    /// use bitmag::{Bitmag, Config};
    /// // Frugal: next to nothing is kept.
    /// static FRUGAL: Bitmag = Bitmag::with(Config::new().purge_share(5).purge_floor(1 << 20));
    /// ```
    #[must_use]
    pub const fn purge_share(mut self, percent: u32) -> Self {
        self.purge_share = percent;
        self
    }

    /// How many bytes may stay free and resident however little is in use: 16 MiB unless set, and up to
    /// four times as many right after a peak. `BITMAG_PURGE_FLOOR`, in KiB.
    #[must_use]
    pub const fn purge_floor(mut self, bytes: usize) -> Self {
        self.purge_floor = bytes;
        self
    }

    /// Where huge pages are asked for: [`HugePages::Auto`] unless set. `BITMAG_HUGE_PAGES`, `never`, `auto` or `always`.
    ///
    /// ```
    /// use bitmag::{Bitmag, Config, HugePages};
    /// // A program of large tables that it fills.
    /// static TABLES: Bitmag = Bitmag::with(Config::new().huge_pages(HugePages::Always));
    /// ```
    #[must_use]
    pub const fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// How many bytes of fresh memory the process makes resident with one system call each time it takes more from the system,
    /// instead of by a page fault for each page: 0, none, unless set. `BITMAG_POPULATE`, in KiB.
    ///
    /// It takes that much at a time then, at least 64 KiB. A page costs about a quarter of what its fault would, but the one
    /// call that grows pays for all of them (256 KiB: about 60 us), and pages that are never used are resident too.
    #[must_use]
    pub const fn populate(mut self, bytes: usize) -> Self {
        self.populate = bytes;
        self
    }

    /// How many bytes of address space are taken at the start in one piece, resident or charged only once they are used: 1 MiB unless
    /// set, and more as it is needed. `BITMAG_RESERVE`, in KiB.
    ///
    /// For programs that map much of their own: nothing of theirs can come to lie in between then. Less is taken where a limit
    /// (`ulimit -v`) forbids it.
    #[must_use]
    pub const fn reserve(mut self, bytes: usize) -> Self {
        self.reserve = bytes;
        self
    }

    /// How many bytes the process may have resident before it keeps next to no free memory: 0, no limit, unless set.
    /// `BITMAG_SOFT_LIMIT`, in KiB.
    ///
    /// Looked at when more memory is taken from the system. From the first time that slabs, large blocks and free memory come to more,
    /// the [`purge_share`](Config::purge_share) is 0, also if it was [`Config::NEVER`], and the [`purge_floor`](Config::purge_floor)
    /// at most 1 MiB. Allocation goes on: no call fails because of it.
    ///
    /// ```
    /// use bitmag::{Bitmag, Config};
    /// // As fast as can be up to 1 GiB, frugal above.
    /// static A: Bitmag = Bitmag::with(Config::new().purge_share(50).soft_limit(1 << 30));
    /// ```
    #[must_use]
    pub const fn soft_limit(mut self, bytes: usize) -> Self {
        self.soft_limit = bytes;
        self
    }

    /// Makes allocations ready at the process's first call, for the thread that makes it: [`prewarm`](crate::prewarm()) with
    /// these layouts and counts. Nothing unless set. What there is no memory for is left out.
    ///
    /// ```
    /// use bitmag::{Bitmag, Config};
    /// use std::alloc::Layout;
    /// static READY: Bitmag = Bitmag::with(Config::new().prewarm(&[(Layout::new::<[u8; 4096]>(), 64)]));
    /// ```
    #[must_use]
    pub const fn prewarm(mut self, wanted: &'static [(Layout, usize)]) -> Self {
        self.prewarm = Some((crate::prewarm::prewarm, wanted));
        self
    }

    /// Has a background thread give memory back that the process does not need, also while the process
    /// makes no call: a round of [`maintain`](crate::maintain) each `period`, at least 10 ms. What a
    /// peak left behind has gone back after about three rounds. Off unless set. `BITMAG_BACKGROUND`.
    ///
    /// The thread starts at the first need of it. It blocks all signals, does not keep the process
    /// alive, and does not run in the child of a fork before that needs it.
    ///
    /// ```
    /// use bitmag::{Bitmag, Config};
    /// use core::time::Duration;
    /// static TIDY: Bitmag = Bitmag::with(Config::new().background(Duration::from_millis(500)));
    /// ```
    #[must_use]
    pub const fn background(mut self, period: core::time::Duration) -> Self {
        let milliseconds = period.as_millis();
        let period = if milliseconds < 10 {
            10
        } else if milliseconds > 1 << 30 {
            1 << 30
        } else {
            milliseconds as u32
        };
        self.background = Some((period, crate::background::start));
        self
    }

    /// Whether the `BITMAG_` variables of the environment are read, once, before the first
    /// allocation. They are never read in a process that gained privileges at its start.
    #[must_use]
    pub const fn environment(mut self, read: bool) -> Self {
        self.environment = if read { Some(crate::environment::read) } else { None };
        self
    }

    /// Marks the settings as those of the C face.
    #[doc(hidden)]
    #[must_use]
    pub const fn c_face(mut self) -> Self {
        self.c_face = true;
        self.recorder = Some(record);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
