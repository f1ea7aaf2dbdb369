//! Lines for the operator, in the shape of Redis's log: `pid:M date level message`.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `.`
    Debug,
    /// `-`
    Verbose,
    /// `*`
    Notice,
    /// `#`
    Warning,
}

/// Where lines go.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    least: AtomicU8,
    sink: Mutex<Sink>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

enum Sink {
    Stdout,
    File(std::fs::File),
    Memory(Vec<String>),
}

/// Lines that a [`Log::in_memory`] keeps.
const MEMORY_LINES_MAX: usize = 1024;

impl Log {
    /// Lines go to standard output, or are appended to `file` unless that is empty.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(file: &str, least: Level) -> std::io::Result<Log> {
        let sink = if file.is_empty() {
            Sink::Stdout
        } else {
            Sink::File(OpenOptions::new().create(true).append(true).open(file)?)
        };
        Ok(Log::with(sink, least))
    }

    /// Keeps the last lines for a test to look at.
    #[must_use]
    pub fn in_memory() -> Log {
        Log::with(Sink::Memory(Vec::new()), Level::Debug)
    }

    fn with(sink: Sink, least: Level) -> Log {
        let inner = Inner { least: AtomicU8::new(least as u8), sink: Mutex::new(sink) };
        Log { inner: Arc::new(inner) }
    }

    /// Changes what is written from now on.
    pub fn set_level(&self, least: Level) {
        self.inner.least.store(least as u8, Ordering::Relaxed);
    }

    /// Writes a line at unix milliseconds `now_ms`.
    pub fn line(&self, now_ms: i64, level: Level, message: &str) {
        if (level as u8) < self.inner.least.load(Ordering::Relaxed) {
            return;
        }
        let mark = ['.', '-', '*', '#'][level as usize];
        let line = format!("{}:M {} {mark} {message}", std::process::id(), time(now_ms));
        match &mut *self.inner.sink.lock() {
            // Nobody can be told that telling failed.
            Sink::Stdout => drop(writeln!(std::io::stdout(), "{line}")),
            Sink::File(file) => drop(writeln!(file, "{line}")),
            Sink::Memory(lines) => {
                if lines.len() == MEMORY_LINES_MAX {
                    lines.remove(0);
                }
                lines.push(line);
            }
        }
    }

    /// The lines of a [`Log::in_memory`].
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match &*self.inner.sink.lock() {
            Sink::Memory(lines) => lines.clone(),
            Sink::Stdout | Sink::File(_) => Vec::new(),
        }
    }
}

/// A moment in UTC, as the log writes it.
pub(crate) fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map(|at| at.strftime("%d %b %Y %H:%M:%S%.3f").to_string())
        .unwrap_or_default()
}

/// The level of the directive `loglevel`.
pub(crate) fn level(of: crate::config::LogLevel) -> Level {
    use crate::config::LogLevel;
    match of {
        LogLevel::Debug => Level::Debug,
        LogLevel::Verbose => Level::Verbose,
        LogLevel::Notice => Level::Notice,
        LogLevel::Warning => Level::Warning,
    }
}
