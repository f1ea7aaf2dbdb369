//! What a payload claims reserves nothing: no allocation while it is read is larger than what
//! the payload itself can stand for.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use ballast_storage::memory::CountingAllocator;
use ballast_storage::rdb::{Input, read_value};
use ballast_storage::types::Limits;

thread_local! {
    /// The largest allocation of the thread since it was set to 0.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watched;

fn note(size: usize) {
    LARGEST.set(LARGEST.get().max(size));
}

// SAFETY: every call goes on unchanged to an allocator that keeps the rules.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promises.
        unsafe { CountingAllocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { CountingAllocator.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as the caller promises.
        unsafe { CountingAllocator.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// A buffer that grows is up to twice what is in it; the first block of a structure is some KiB.
const SLACK_BYTES: usize = 64 * 1024;

/// The largest allocation that reading `bytes` takes.
fn largest(bytes: &[u8]) -> usize {
    LARGEST.set(0);
    drop(read_value(&mut Input::new(bytes), &Limits::default()));
    LARGEST.get()
}

#[test]
fn a_claimed_length_or_count_reserves_nothing() {
    let claims: [&[u8]; 6] = [
        &[0x81, 0x00, 0x00, 0x00, 0x00, 0x3f, 0xff, 0xff, 0xff],
        &[0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x3f, 0xff, 0xff, 0xff],
        &[0x80, 0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff],
        // A compressed string of one byte that is to become 1 GiB.
        &[0xc3, 0x01, 0x80, 0x3f, 0xff, 0xff, 0xff, 0x00],
    ];
    for kind in 0..=24 {
        for claim in claims {
            for rest in [&b""[..], b"\x01a\x01b\x01c\x01d", &[0xff; 64], &[0x00; 64]] {
                let bytes = [&[kind], claim, rest].concat();
                assert!(largest(&bytes) <= SLACK_BYTES, "{}", bytes.escape_ascii());
            }
        }
    }
}

#[test]
fn a_compressed_string_takes_what_it_becomes() {
    // Copies of 264 bytes that stop short of what the length says.
    const COPIES: usize = 10_000;
    let compressed = [b"\x00a".to_vec(), b"\xe0\xff\x00".repeat(COPIES)].concat();
    let becomes = 1 + COPIES * 264;
    for (claimed, fits) in [(becomes, true), (becomes - 1, false), (30 * becomes / 31, false)] {
        let len = |len: usize| [&[0x80][..], &(len as u32).to_be_bytes()].concat();
        let bytes = [vec![0, 0xc3], len(compressed.len()), len(claimed), compressed.clone()];
        let bytes = bytes.concat();
        assert!(largest(&bytes) <= 2 * becomes + SLACK_BYTES);
        let read = read_value(&mut Input::new(&bytes), &Limits::default());
        assert_eq!(read.is_ok(), fits);
    }
}
