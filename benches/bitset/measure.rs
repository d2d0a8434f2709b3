//! How the bench measures: time as the least of interleaved rounds, instructions by stepping through a child process.
//! Interleaving lets every candidate meet the same disturbances; the least is what the code costs without them.
//! Stepping is exact, knows AVX-512 (callgrind does not), and needs nothing installed.

use std::time::Instant;

/// Something to be measured: a name and a function that does `n` operations.
pub(crate) struct Candidate<'a> {
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut(usize) + 'a) -> Self {
        Candidate { name: name.into(), run: Box::new(run) }
    }
}

/// Nanoseconds per operation of each candidate: the least of 300 interleaved rounds of about 20 microseconds.
pub(crate) fn nanoseconds(candidates: &mut [Candidate]) -> Vec<f64> {
    let lengths: Vec<usize> = candidates
        .iter_mut()
        .map(|candidate| {
            let mut n = 16;
            loop {
                let start = Instant::now();
                (candidate.run)(n);
                let spent = start.elapsed().as_nanos() as usize;
                if spent > 5_000 {
                    break (n * 20_000 / spent).max(1);
                }
                n *= 2;
            }
        })
        .collect();
    let mut least = vec![f64::MAX; candidates.len()];
    for _ in 0..300 {
        for ((candidate, n), least) in candidates.iter_mut().zip(&lengths).zip(&mut least) {
            let start = Instant::now();
            (candidate.run)(*n);
            *least = least.min(start.elapsed().as_nanos() as f64 / *n as f64);
        }
    }
    least
}

/// Instructions of one call, counted by single-stepping a forked child through 1 and through 3 calls.
/// `None` where the system does not allow tracing.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn instructions(mut once: impl FnMut()) -> Option<f64> {
    once();
    let one = steps(&mut once)?;
    let three = steps(|| {
        once();
        once();
        once();
    })?;
    Some((three - one) as f64 / 2.0)
}

/// Instructions that a child executes in `work`.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn steps(work: impl FnOnce()) -> Option<u64> {
    // SAFETY: the bench has one thread; the child only runs `work`, which neither allocates nor locks, and exits.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            if libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) != 0 {
                libc::_exit(1);
            }
            std::arch::asm!("int3");
            work();
            std::arch::asm!("int3");
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &mut status, 0);
        if !libc::WIFSTOPPED(status) {
            return None;
        }
        let mut count = 0;
        loop {
            libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0);
            libc::waitpid(child, &mut status, 0);
            if !libc::WIFSTOPPED(status) {
                return None;
            }
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETREGS, child, 0, &mut registers);
            // A second int3 has just been executed: 0xcc behind us.
            let before = libc::ptrace(libc::PTRACE_PEEKTEXT, child, registers.rip - 1, 0);
            if before as u8 == 0xcc {
                let info = {
                    let mut info: libc::siginfo_t = std::mem::zeroed();
                    libc::ptrace(libc::PTRACE_GETSIGINFO, child, 0, &mut info);
                    info.si_code
                };
                // SI_KERNEL (0x80) is the breakpoint, TRAP_TRACE (2) a step that ends behind a 0xcc byte by chance.
                if info == 0x80 || info == 1 {
                    libc::ptrace(libc::PTRACE_CONT, child, 0, 0);
                    libc::waitpid(child, &mut status, 0);
                    return Some(count);
                }
            }
            count += 1;
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn instructions(_: impl FnMut()) -> Option<f64> {
    None
}
