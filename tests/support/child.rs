//! Child processes: programs and scenarios with a time limit, resource limits, the library preloaded, counters collected.
//! Output goes to files, so that a child that writes much or hangs never blocks the test; a child over its time is killed with its whole process group.
//! A scenario is the running test program itself, started through the target's runner when it is being emulated.

use super::counters::Counters;
use super::{library, places};
use std::ffi::OsStr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What runs this target's programs on a machine of another kind, as cargo was told.
pub fn emulator() -> Option<String> {
    let arch = std::env::consts::ARCH.to_uppercase();
    std::env::vars()
        .find(|(key, _)| {
            key.starts_with(&format!("CARGO_TARGET_{arch}")) && key.ends_with("_RUNNER")
        })
        .map(|(_, runner)| runner)
}

/// A child to be run.
pub struct Child {
    command: Command,
    label: String,
    limit: Duration,
    folder: PathBuf,
    counted: bool,
    input: Stdio,
}

/// A child that has ended.
pub struct Ended {
    /// For messages.
    pub label: String,
    /// How it ended; `None` when its time ran out.
    pub status: Option<ExitStatus>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The counters of its processes, the busiest first.
    pub counters: Vec<Counters>,
}

impl Child {
    /// An external program.
    pub fn program(program: impl AsRef<OsStr>) -> Child {
        let label = Path::new(program.as_ref())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (command, folder) = (Command::new(program), places::fresh_folder("child"));
        Child {
            command,
            label,
            limit: Duration::from_secs(300),
            folder,
            counted: false,
            input: Stdio::null(),
        }
        .env_remove("BITMAG_STATS")
        .env_remove("BITMAG_CHECK")
    }

    /// This test program again, through the emulator if there is one.
    pub fn this_program() -> Child {
        let program = std::env::current_exe().expect("a running program has a path");
        match emulator() {
            Some(runner) => {
                let mut words = runner.split_whitespace();
                Child::program(words.next().unwrap_or("env")).args(words).args([program])
            }
            None => Child::program(program),
        }
    }

    /// A scenario of this test program.
    pub fn scenario(name: &str) -> Child {
        let mut child = Child::this_program();
        child.label = name.into();
        child.env("BITMAG_SCENARIO", name)
    }

    /// Arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Child {
        self.command.args(args);
        self
    }

    /// An environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Child {
        self.command.env(key, value);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, key: &str) -> Child {
        self.command.env_remove(key);
        self
    }

    /// The working directory.
    pub fn in_folder(mut self, folder: &Path) -> Child {
        self.command.current_dir(folder);
        self
    }

    /// Standard input from a file.
    pub fn input(mut self, path: &Path) -> Child {
        self.input = std::fs::File::open(path).expect("the test wrote this file").into();
        self
    }

    /// Preloads the library and has it count.
    pub fn preload(self) -> Result<Child, String> {
        let library = library::path()?;
        Ok(self.env("LD_PRELOAD", library).env("BITMAG_LIBRARY", library).counted())
    }

    /// Has whatever copy of the library reads the environment write its counters.
    pub fn counted(mut self) -> Child {
        self.counted = true;
        let counters = self.folder.join("counters");
        std::fs::create_dir_all(&counters).expect("the folder is ours");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&counters, std::fs::Permissions::from_mode(0o777))
            .expect("the folder is ours");
        self.env("BITMAG_STATS", counters.join("%p"))
    }

    /// A limit on its address space, hard and soft.
    pub fn address_space(mut self, bytes: u64) -> Child {
        let set = move || {
            let limit = libc::rlimit { rlim_cur: bytes as _, rlim_max: bytes as _ };
            // SAFETY: setrlimit reads the struct.
            match unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec only setrlimit is called.
        unsafe { self.command.pre_exec(set) };
        self
    }

    /// Another time limit than five minutes.
    pub fn within(mut self, seconds: u64) -> Child {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs it to its end, or kills it.
    pub fn run(mut self) -> Result<Ended, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.label);
        let (out, err) = (self.folder.join("stdout"), self.folder.join("stderr"));
        self.command.stdout(std::fs::File::create(&out).map_err(failed)?);
        self.command.stderr(std::fs::File::create(&err).map_err(failed)?);
        self.command.stdin(self.input);
        let mut child = self.command.process_group(0).spawn().map_err(failed)?;
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break Some(status);
            }
            if start.elapsed() > self.limit {
                // SAFETY: the group is the child's own.
                unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
                child.wait().map_err(failed)?;
                break None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        let text = |path: &Path| {
            std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let (stdout, mut stderr) = (text(&out).map_err(failed)?, text(&err).map_err(failed)?);
        if emulator().is_some() {
            // The emulator's own word about a signal that ended the program.
            stderr = stderr
                .lines()
                .filter(|line| !line.starts_with("qemu: "))
                .map(|line| format!("{line}\n"))
                .collect();
        }
        let counters = if self.counted {
            Counters::of_folder(&self.folder.join("counters"))?
        } else {
            Vec::new()
        };
        let _ = std::fs::remove_dir_all(&self.folder);
        Ok(Ended { label: self.label, status, stdout, stderr, counters })
    }

    /// Runs it; anything but a clean end is an error with what it wrote.
    pub fn succeed(self) -> Result<Ended, String> {
        let ended = self.run()?;
        if ended.status.is_some_and(|status| status.success()) {
            Ok(ended)
        } else {
            Err(ended.describe())
        }
    }
}

impl Ended {
    /// How it ended, in words, with the end of what it wrote.
    pub fn describe(&self) -> String {
        let how = match self.status {
            None => "ran out of time (a hang?)".to_string(),
            Some(status) => status.to_string(),
        };
        let tail = |text: &str| {
            text.chars().skip(text.chars().count().saturating_sub(2000)).collect::<String>()
        };
        format!(
            "{}: {how}\nstdout: {}\nstderr: {}",
            self.label,
            tail(&self.stdout),
            tail(&self.stderr)
        )
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }

    /// Blocks that refills handed out in the busiest process; 0 when no process wrote counters.
    pub fn refilled_blocks(&self) -> u64 {
        self.counters.first().map_or(0, |counters| counters.get("refilled_blocks"))
    }
}
