//! How much work this thread has done, in steps that tests count instead of time. A step is an
//! element looked at, a block freed, or 64 bytes allocated. Counted in debug builds only: it holds
//! commands to the bound on their cost that they declare.

use std::cell::Cell;

/// Bytes that count as a step.
const STEP_BYTES: usize = 64;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Steps of this thread so far; always 0 in a build without debug assertions.
pub fn steps() -> u64 {
    STEPS.get()
}

/// An element has been looked at, or a block freed.
#[inline(always)]
pub(crate) fn step() {
    if cfg!(debug_assertions) {
        STEPS.set(STEPS.get() + 1);
    }
}

/// So many bytes have been allocated, which will be written.
#[inline(always)]
pub(crate) fn allocated(bytes: usize) {
    if cfg!(debug_assertions) {
        STEPS.set(STEPS.get() + (bytes / STEP_BYTES) as u64);
    }
}
