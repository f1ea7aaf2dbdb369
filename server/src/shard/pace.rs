//! How long the slices of long work are, and how much of a thread it takes.
//!
//! Others have their turn after each slice. If they use it, slices get short, since what comes
//! meanwhile waits for the end of one, and the others get a multiple of a slice before the next. If
//! they do not, slices get longer, and follow each other at once.

use std::time::{Duration, Instant};

/// Slices while others work.
const SHORT: Duration = Duration::from_micros(100);
/// Slices while nobody else does.
const LONG: Duration = Duration::from_millis(1);
/// A turn of all others that takes no longer was not used.
const QUIET: Duration = Duration::from_micros(25);
/// Others who work get so many times the last slice.
const REST: u32 = 2;

/// The pace of one piece of work.
#[derive(Debug)]
pub(crate) struct Pace {
    slice: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { slice: SHORT }
    }
}

impl Pace {
    /// How long to work now.
    pub(crate) fn slice(&self) -> Duration {
        self.slice
    }

    /// Lets others work.
    pub(crate) async fn rest(&mut self) {
        let mut rested = Duration::ZERO;
        while rested < self.slice * REST {
            let since = Instant::now();
            tokio::task::yield_now().await;
            let turn = since.elapsed();
            if turn <= QUIET {
                self.slice = (self.slice * 2).min(LONG);
                return;
            }
            rested += turn;
        }
        self.slice = SHORT;
    }
}
