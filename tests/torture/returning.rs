//! Giving memory back while the program forks, and while signal handlers interrupt it.
//! Every child must work, whatever was being returned when it was made, and a handler that allocates inside a purge must neither hang nor get what somebody else has.

use crate::residency::{Table, give, mixed, take};
use crate::support::verdict::{Scenario, seed};
use crate::{Face, api, each_face, ensure};
use libtest_mimic::Trial;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A program that forks, trims and maintains on several threads at once: every child works.
fn trimmed_while_forking() -> Result<(), String> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let stopped = || STOP.load(Ordering::Relaxed);
    let work = |seed: u64| -> Result<(), String> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut table = Table::new(20_000);
        for _ in 0..20_000 {
            table.push(take(mixed(&mut rng)));
        }
        while table.len > 2000 {
            let at = rng.usize(0..table.len);
            give(table.swap_remove(at))?;
        }
        for _ in 0..5000 {
            let at = rng.usize(0..table.len);
            give(table.swap_remove(at))?;
            table.push(take(mixed(&mut rng)));
        }
        while table.len > 0 {
            let last = table.len - 1;
            give(table.swap_remove(last))?;
        }
        // SAFETY: the table's mapping is this function's.
        unsafe { libc::munmap(table.blocks.as_mut_ptr().cast(), size_of_val(table.blocks)) };
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|me| {
                scope.spawn(move || {
                    (0..).take_while(|_| !stopped()).try_for_each(|round| work(100 * me + round))
                })
            })
            .collect();
        scope.spawn(|| {
            while !stopped() {
                api().trim();
                bitmag::maintain(bitmag::Budget::new());
            }
        });
        let mut outcome = Ok(());
        for round in 0..40 {
            std::thread::sleep(Duration::from_millis(5));
            // SAFETY: what the child may do after a fork is what is tested.
            match unsafe { libc::fork() } {
                0 => {
                    // SAFETY: an alarm for this process; a child of fork leaves without the parent's exit handlers.
                    unsafe {
                        libc::alarm(60);
                        let done = work(round).and_then(|()| {
                            api().trim();
                            work(round + 1)
                        });
                        libc::_exit(done.is_err().into());
                    }
                }
                pid => {
                    let mut status = 0;
                    // SAFETY: waits for our own child.
                    unsafe { libc::waitpid(pid, &mut status, 0) };
                    if status != 0 {
                        outcome = Err(format!("fork {round}: the child ended with {status:#x}"));
                        break;
                    }
                }
            }
        }
        STOP.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        outcome
    })
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// Takes and gives a few blocks of sizes that the program purges around.
extern "C" fn on_alarm(_signal: i32) {
    let mut held = [const { None }; 3];
    for (index, place) in held.iter_mut().enumerate() {
        // A large one: a handler may come inside a hit of the program's.
        *place = Some(take(40_000 + 30_000 * index));
    }
    for block in held.into_iter().rev().flatten() {
        if give(block).is_err() {
            std::process::abort();
        }
    }
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Purges and steps of maintenance interrupted by a handler that allocates and frees.
fn trimmed_under_signals() -> Result<(), String> {
    // SAFETY: a handler and a timer of this process, which ends with the scenario.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
        // Long enough that the program gets on between two of them, on a busy machine too.
        let value = libc::timeval { tv_sec: 0, tv_usec: 1000 };
        let timer = libc::itimerval { it_interval: value, it_value: value };
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
    }
    let mut rng = fastrand::Rng::with_seed(seed());
    let mut table = Table::new(4000);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        // Large blocks only: no hit of this thread is ever interrupted.
        while table.len < 300 {
            table.push(take(rng.usize(33_000..300_000)));
        }
        while table.len > 20 {
            let at = rng.usize(0..table.len);
            give(table.swap_remove(at))?;
        }
        api().trim();
        bitmag::maintain(bitmag::Budget::new());
    }
    let handled = HANDLED.load(Ordering::Relaxed);
    ensure!(handled > 50, "the handler ran only {handled} times");
    Ok(())
}

pub const SCENARIOS: &[Scenario] = &[
    ("trimmed_while_forking", trimmed_while_forking),
    ("trimmed_under_signals", trimmed_under_signals),
];

pub fn tests() -> Vec<Trial> {
    let faces = [Face::Rust, Face::RustChecked, Face::C];
    let mut tests = each_face("returning::while_forking", "trimmed_while_forking", &faces);
    let faces = [Face::Rust, Face::C];
    tests.extend(each_face("returning::under_signals", "trimmed_under_signals", &faces));
    tests
}
