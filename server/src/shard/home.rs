//! Where the state of a shard is. Its thread holds it for the length of a batch, and for most of
//! its time not: it reads, writes or sleeps. Another thread that has something of constant cost to
//! be done there does it itself then, which takes a fraction of what it costs both to wake the
//! owner, and to be woken by its answer.
//!
//! Invariant: others only try, and hold the state for a few commands of constant cost. So the owner
//! hardly waits, and as nobody waits while it holds a state, none wait for each other.

use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};

use super::sync::{Mutex, MutexGuard};

/// See the module.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Home<S>(Mutex<Option<S>>);

impl<S> Default for Home<S> {
    /// Nobody lives there yet.
    fn default() -> Home<S> {
        Home(Mutex::new(None))
    }
}

/// What lives in a [`Home`].
pub(crate) trait Resident {
    /// Whoever had the state lets it go: others may look at what it publishes from now on.
    fn let_go(&mut self) {}
}

impl<S: Resident> Home<S> {
    /// Begins to be the home of a state.
    pub(crate) fn settle(&self, state: S) {
        *self.0.lock() = Some(state);
    }

    /// Is nobody's home any more.
    pub(crate) fn vacate(&self) {
        let state = self.0.lock().take();
        drop(state);
    }

    /// For the owner, which may wait a moment. `borrowed` is borrowed as long, so that a second
    /// call on one thread panics instead of waiting for the first.
    #[inline(always)]
    pub(crate) fn lock<'a>(&'a self, borrowed: &'a RefCell<()>) -> Guard<'a, S> {
        let borrowed = borrowed.borrow_mut();
        Guard { state: self.0.lock(), _borrowed: borrowed }
    }

    /// For others: does `work` on the state, if nobody holds it.
    #[inline]
    pub(crate) fn visit<R>(&self, work: impl FnOnce(&mut S) -> R) -> Option<R> {
        let mut state = self.0.try_lock()?;
        let state = state.as_mut()?;
        let result = work(state);
        state.let_go();
        Some(result)
    }
}

/// The owner's hold on its state.
pub(crate) struct Guard<'a, S: Resident> {
    state: MutexGuard<'a, Option<S>>,
    _borrowed: RefMut<'a, ()>,
}

impl<S: Resident> Drop for Guard<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(state) = self.state.as_mut() {
            state.let_go();
        }
    }
}

impl<S: Resident> Deref for Guard<'_, S> {
    type Target = S;

    #[inline(always)]
    fn deref(&self) -> &S {
        self.state.as_ref().expect("the owner lives here")
    }
}

impl<S: Resident> DerefMut for Guard<'_, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut S {
        self.state.as_mut().expect("the owner lives here")
    }
}
