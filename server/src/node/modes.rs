//! What the whole node is doing that changes the way of every command. Shards keep a copy, which
//! they take over together with a changed configuration: so a command pays nothing for it.

use std::sync::atomic::{AtomicU8, Ordering};

/// The modes that are on.
#[derive(Debug, Default)]
pub(crate) struct Modes(AtomicU8);

/// A copy of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModesSeen(u8);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Some connection is shown all commands.
    Monitored = 1,
    /// The data set is being loaded at the start.
    Loading = 2,
    /// Nothing may be written, as it would not be kept: see
    /// [`Node::refuses_writes`](super::Node::refuses_writes).
    Unsaved = 4,
}

impl Modes {
    /// Switches a mode on or off. [`Node::switch`](super::Node::switch) has the shards know of it.
    pub(super) fn switch(&self, mode: Mode, is_on: bool) {
        if is_on {
            self.0.fetch_or(mode as u8, Ordering::Release);
        } else {
            self.0.fetch_and(!(mode as u8), Ordering::Release);
        }
    }

    /// Those that are on.
    pub(crate) fn load(&self) -> ModesSeen {
        ModesSeen(self.0.load(Ordering::Acquire))
    }
}

impl ModesSeen {
    /// Whether a mode is on.
    #[inline(always)]
    pub(crate) fn has(self, mode: Mode) -> bool {
        self.0 & mode as u8 != 0
    }

    /// Whether no mode is on, so that all commands go the shortest way.
    #[inline(always)]
    pub(crate) fn is_usual(self) -> bool {
        self.0 == 0
    }
}
