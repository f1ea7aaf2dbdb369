//! The thread that makes memory resident before it is needed and gives back what is not.
//!
//! Both take long: the first touch of a page costs a fault, and a system that is itself a guest
//! may have to fetch the page from its host; giving back a megabyte takes a tenth of a
//! millisecond. Within commands these were nearly all that ever ran for longer than a quarter of
//! a millisecond while a table grew. So the others say what they want, and go on. The thread gives
//! way to all of them: what it has not prepared in time is touched by the commands, as without it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;

use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};

use super::runs::{self, ARENAS};

/// What is made resident in one call, …
const SLICE: usize = 64 << 10;
/// … and what is given back in one, which is quicker. After each, threads that are due on this
/// processor have their turn.
const SLICE_BACK: usize = 256 << 10;

/// mimalloc's `purge_delay`, milliseconds: within commands it gives pages back when that is over.
/// The binding does not name it.
const PURGE_DELAY: mi_option_t = 15;
/// Never, and still it notes what there is to give back.
const PURGE_NEVER_MS: std::ffi::c_long = 1 << 40;

/// The arenas that want their next chunk prepared, a bit each.
static PREPARE: AtomicU64 = AtomicU64::new(0);
/// The arenas that have something to give back.
static GIVE_BACK: AtomicU64 = AtomicU64::new(0);
/// mimalloc is to give back what is free.
static COLLECT: AtomicBool = AtomicBool::new(false);
const _: () = assert!(ARENAS <= u64::BITS as usize, "a bit for each arena");

/// None where the system has given no thread: then nothing is prepared, segments give back at a
/// purge only, and mimalloc as it does by itself.
static THREAD: OnceLock<Option<Thread>> = OnceLock::new();

/// Has the next chunk of an arena prepared.
pub(super) fn prepare(arena: usize) {
    PREPARE.fetch_or(1 << arena, Ordering::Release);
    wake();
}

/// Has an arena give back what it owes.
pub(super) fn give_back(arena: usize) {
    GIVE_BACK.fetch_or(1 << arena, Ordering::Release);
    wake();
}

/// Has mimalloc give back what is free.
pub(super) fn collect() {
    COLLECT.store(true, Ordering::Release);
    wake();
}

fn wake() {
    if let Some(thread) = THREAD.get_or_init(start) {
        thread.unpark();
    }
}

fn start() -> Option<Thread> {
    let spawned = std::thread::Builder::new().name("ballast-pages".into()).spawn(|| {
        // A tenth of a processor if others want all of it.
        super::scheduling::give_way(10);
        // SAFETY: sets a number that is read before each use. From now on this thread does it.
        unsafe { mi_option_set(PURGE_DELAY, PURGE_NEVER_MS) };
        loop {
            work();
        }
    });
    spawned.ok().map(|handle| handle.thread().clone())
}

/// One piece of what is most urgent, or a wait.
fn work() {
    if let Some(arena) = next(&PREPARE) {
        runs::place_ahead(arena);
    } else if let Some(arena) = next(&GIVE_BACK) {
        if runs::return_longest(arena) {
            GIVE_BACK.fetch_or(1 << arena, Ordering::Relaxed);
        }
    } else if COLLECT.swap(false, Ordering::Acquire) {
        // SAFETY: touches only free memory, of all threads, as mimalloc does by itself.
        unsafe { mi_collect(true) };
    } else {
        std::thread::park();
    }
}

/// The first arena of a set, which is taken out.
fn next(arenas: &AtomicU64) -> Option<usize> {
    let set = arenas.load(Ordering::Relaxed);
    let first = set & set.wrapping_neg();
    let was = if first == 0 { 0 } else { arenas.fetch_and(!first, Ordering::Acquire) };
    (was & first != 0).then(|| first.trailing_zeros() as usize)
}

/// Makes `bytes` from an address on resident, without a change to what they hold. Pages that are
/// no longer there, and systems that cannot do this, leave it undone.
pub(super) fn populate(start: *const u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    for from in (0..bytes).step_by(SLICE) {
        let at = start.wrapping_add(from);
        let skip = at.addr() % runs::PAGE;
        let (at, len) = (at.wrapping_sub(skip), SLICE.min(bytes - from) + skip);
        // SAFETY: reads and writes nothing that the program could see.
        if unsafe { libc::madvise(at.cast_mut().cast(), len, libc::MADV_POPULATE_WRITE) } != 0 {
            return;
        }
        std::thread::yield_now();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// Gives whole pages back to the system. An error leaves them resident, which costs memory only.
///
/// # Safety
/// Nobody wants what is in them.
pub(super) unsafe fn discard(start: *mut u8, bytes: usize) {
    for from in (0..bytes).step_by(SLICE_BACK) {
        let (at, len) = (start.wrapping_add(from), SLICE_BACK.min(bytes - from));
        // SAFETY: by the caller's promise.
        unsafe { libc::madvise(at.cast(), len, libc::MADV_DONTNEED) };
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_meant() {
        // Either its default, or what another test's thread has set.
        // SAFETY: reads a number.
        let delay = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert!([1000, PURGE_NEVER_MS].contains(&delay), "{delay}");
    }

    #[test]
    fn arenas_are_taken_out_one_by_one() {
        let set = AtomicU64::new(1 << 63 | 1 << 5);
        assert_eq!((next(&set), next(&set), next(&set)), (Some(5), Some(63), None));
    }

    #[test]
    fn to_populate_changes_nothing() {
        let bytes = vec![7_u8; 3 * SLICE + 5];
        populate(bytes.as_ptr().wrapping_add(1), bytes.len() - 1);
        assert!(bytes.iter().all(|byte| *byte == 7));
        populate(std::ptr::without_provenance(1 << 12), SLICE);
    }
}
