//! How far a long piece of work is, on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Duration;

/// How often what turns round moves on.
const TURN: Duration = Duration::from_millis(120);

/// A bar on standard error; nothing where that is no terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar, unless somebody does not want one.
    pub fn new(wanted: bool) -> Self {
        let is_seen = wanted && std::io::stderr().is_terminal();
        Self(if is_seen { ProgressBar::new_spinner() } else { ProgressBar::hidden() })
    }

    /// A part begins, of so many things if that is known.
    pub fn begin(&self, what: &'static str, of: u64) {
        let style = match (of, what) {
            (0, "bytes") => "{spinner} {bytes} ({bytes_per_sec})",
            (0, _) => "{spinner} {msg} {elapsed}",
            (_, "bytes") => "[{bar:30}] {bytes} of {total_bytes}, {eta} left",
            _ => "{msg:16} [{bar:30}] {human_pos} of {human_len}, {eta} left",
        };
        // The message last: what is drawn in between is still that of the part before.
        self.0.reset();
        self.0.set_length(of);
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.0.set_style(style.progress_chars("=> "));
        }
        self.0.set_message(what);
        if of == 0 {
            self.0.enable_steady_tick(TURN);
        } else {
            self.0.disable_steady_tick();
        }
    }

    /// So much of the part is done, in all.
    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // What is said afterwards stands where the bar was.
        self.0.finish_and_clear();
    }
}

/// A size as people read it.
pub fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
