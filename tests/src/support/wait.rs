//! Waiting for what a server does by itself.

use std::time::{Duration, Instant};

/// What cannot take longer unless it never comes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Asks until it is so; the server gets on with its work meanwhile.
///
/// # Panics
/// If it does not come to that.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !is_so() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::yield_now();
    }
}
