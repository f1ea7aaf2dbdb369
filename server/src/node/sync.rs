//! What the router and the mailboxes are made of. Their model check replaces it by types that
//! try all interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64};

pub(crate) use crossbeam::queue::SegQueue;
pub(crate) use parking_lot::{Mutex, MutexGuard};
