//! The progress bar of the comparison. The clients count answered requests; a thread of its own
//! draws, so that drawing never delays a client. Where there is no terminal it says one line per
//! run instead.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on the way to a number of requests.
pub struct Progress {
    /// How many have been answered.
    pub answered: Arc<AtomicU64>,
    bar: ProgressBar,
    over: Arc<AtomicBool>,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows the bar.
    pub fn new(requests: u64) -> Self {
        let bar = ProgressBar::new(requests);
        let style = ProgressStyle::with_template(
            "{elapsed_precise} [{wide_bar}] {percent:>3}%  {msg}  (left: {eta})",
        );
        bar.set_style(style.expect("the template is well formed").progress_chars("=> "));
        let (answered, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let drawing = {
            let (bar, answered, over) = (bar.clone(), answered.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    bar.set_position(answered.load(Ordering::Relaxed));
                    std::thread::sleep(Duration::from_millis(200));
                }
            })
        };
        Self { answered, bar, over, drawing: Some(drawing) }
    }

    /// Says what is going on.
    pub fn note(&self, text: &str) {
        if std::io::stderr().is_terminal() {
            self.bar.set_message(text.to_owned());
        } else {
            eprintln!("{text}");
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(drawing) = self.drawing.take() {
            // The thread only draws; there is nothing to learn from how it ended.
            let _ = drawing.join();
        }
    }
}
