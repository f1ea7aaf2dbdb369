//! Broken and lying bytes: refused, without a panic. That they get no memory which they do not
//! pay for is the test `restored_bytes_are_paid_for`.

use proptest::prelude::*;
use proptest::sample::Index;

use super::build::{ENCODERS, blob, length, listpack, string, ziplist, zipmap};
use super::{Limits, Malformed, Model, kept, model, read, read_model, written};
use crate::rdb::{RestoreError, footer, kind, restore};

/// A change somewhere in the bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    /// Among the first bytes, where headers and counts are and changes do the most.
    SetFront(usize, u8),
    CutOff(Index),
    CutOut(Index, usize),
    Insert(Index, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        match self {
            Change::Flip(at, bit) => bytes[at.index(len)] ^= 1 << (bit % 8),
            Change::Set(at, byte) => bytes[at.index(len)] = *byte,
            Change::SetFront(at, byte) => bytes[*at % len] = *byte,
            Change::CutOff(at) => bytes.truncate(at.index(len)),
            Change::CutOut(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Change::Insert(at, new) => {
                let at = at.index(len);
                bytes.splice(at..at, new.iter().copied());
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, bit)| Change::Flip(at, bit)),
        4 => (0usize..24, any::<u8>()).prop_map(|(at, byte)| Change::SetFront(at, byte)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => at().prop_map(Change::CutOff),
        1 => (at(), 1usize..9).prop_map(|(at, count)| Change::CutOut(at, count)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, new)| Change::Insert(at, new)),
    ]
}

/// Restores what `bytes` with the right footer are. What is accepted is whole: it can be kept,
/// counted, written and read again.
fn try_restore(mut bytes: Vec<u8>) {
    footer::seal(&mut bytes);
    match restore(&bytes, &Limits::default()) {
        Ok(value) => {
            let (model, bytes) = kept(value, |value| (Model::of(value), written(value)));
            assert_eq!(read_model(&bytes), Ok(model));
        }
        Err(RestoreError::Content(_)) => {}
        Err(RestoreError::Footer) => panic!("the footer is right"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changed_payloads_never_panic(
        model in model(),
        changes in prop::collection::vec(prop::collection::vec(change(), 1..4), 20),
    ) {
        let own = kept(model.build(&Limits::default()), written);
        let encoded = ENCODERS.iter().filter_map(|(_, encode)| encode(&model));
        for original in encoded.chain([own]) {
            for changes in &changes {
                let mut bytes = original.clone();
                changes.iter().for_each(|change| change.apply(&mut bytes));
                try_restore(bytes);
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(kind in 0u8..24, bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        try_restore([vec![kind], bytes].concat());
    }

    #[test]
    fn every_beginning_is_refused(model in model()) {
        let bytes = kept(model.build(&Limits::default()), written);
        for len in (0..bytes.len()).rev().take(300) {
            prop_assert!(read(&bytes[..len], &Limits::default()).is_err());
        }
    }
}

fn refused(bytes: &[u8]) -> Malformed {
    read_model(bytes).expect_err("it is no value")
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn duplicates_are_refused_in_every_encoding() {
    let (pair, twice) = (texts(&["a", "1", "a", "2"]), texts(&["a", "b", "a"]));
    let strings = |texts: &[Vec<u8>]| texts.iter().flat_map(|text| string(text)).collect();
    let of = |kind: u8, count: u8, body: Vec<u8>| [vec![kind, count], body].concat();
    let intset = b"\x02\0\0\0\x02\0\0\0\x07\0\x07\0";
    for bytes in [
        of(kind::SET, 3, strings(&twice)),
        blob(kind::SET_LISTPACK, &listpack(&twice)),
        of(kind::HASH, 2, strings(&pair)),
        blob(kind::HASH_ZIPMAP, &zipmap(&pair)),
        blob(kind::HASH_ZIPLIST, &ziplist(&pair)),
        blob(kind::HASH_LISTPACK, &listpack(&pair)),
        blob(kind::ZSET_ZIPLIST, &ziplist(&pair)),
        blob(kind::ZSET_LISTPACK, &listpack(&pair)),
        [b"\x05\x02\x01a".as_slice(), &[0; 8], b"\x01a", &[1; 8]].concat(),
        b"\x03\x02\x01a\x011\x01a\x012".to_vec(),
        // The same member as an integer and as a text.
        b"\x02\x02\xc0\x07\x017".to_vec(),
    ] {
        assert_eq!(refused(&bytes), Malformed::Duplicate, "{}", bytes.escape_ascii());
    }
    assert_eq!(refused(&blob(kind::SET_INTSET, intset)), Malformed::Packed);
}

#[test]
fn empty_collections_are_refused_in_every_encoding() {
    for kind in [kind::LIST, kind::SET, kind::HASH, kind::ZSET, kind::ZSET_2] {
        assert_eq!(refused(&[kind, 0]), Malformed::Empty);
    }
    for (kind, bytes) in [
        (kind::HASH_ZIPMAP, zipmap(&[])),
        (kind::LIST_ZIPLIST, ziplist(&[])),
        (kind::ZSET_ZIPLIST, ziplist(&[])),
        (kind::HASH_ZIPLIST, ziplist(&[])),
        (kind::HASH_LISTPACK, listpack(&[])),
        (kind::ZSET_LISTPACK, listpack(&[])),
        (kind::SET_LISTPACK, listpack(&[])),
        (kind::SET_INTSET, b"\x02\0\0\0\0\0\0\0".to_vec()),
    ] {
        assert_eq!(refused(&blob(kind, &bytes)), Malformed::Empty);
    }
    let empty_nodes = [vec![kind::LIST_QUICKLIST, 2], string(&ziplist(&[])).repeat(2)].concat();
    assert_eq!(refused(&empty_nodes), Malformed::Empty);
    assert_eq!(refused(b"\x12\x01\x01\x00"), Malformed::Packed, "an empty plain node");
}

#[test]
fn scores_are_numbers_and_pairs_are_whole() {
    let nan = [b"\x05\x01\x01a".as_slice(), &f64::NAN.to_le_bytes()].concat();
    assert_eq!(refused(&nan), Malformed::Score);
    for bytes in [b"\x03\x01\x01a\xfd".as_slice(), b"\x03\x01\x01a\x03nan", b"\x03\x01\x01a\x00"] {
        assert_eq!(refused(bytes), Malformed::Score);
    }
    for score in ["nan", "-nan", "", "x", "1 ", "1e999"] {
        let packed = texts(&["a", score]);
        assert_eq!(refused(&blob(kind::ZSET_LISTPACK, &listpack(&packed))), Malformed::Score);
        assert_eq!(refused(&blob(kind::ZSET_ZIPLIST, &ziplist(&packed))), Malformed::Score);
    }
    let odd = texts(&["a", "1", "b"]);
    for kind in [kind::ZSET_LISTPACK, kind::HASH_LISTPACK] {
        assert_eq!(refused(&blob(kind, &listpack(&odd))), Malformed::HalfPair);
    }
    for kind in [kind::ZSET_ZIPLIST, kind::HASH_ZIPLIST] {
        assert_eq!(refused(&blob(kind, &ziplist(&odd))), Malformed::HalfPair);
    }
}

#[test]
fn blobs_that_contradict_themselves_are_refused() {
    let packed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = listpack(&texts(&["a", "b"]));
        change(&mut bytes);
        refused(&blob(kind::SET_LISTPACK, &bytes))
    };
    assert_eq!(packed(&|bytes| bytes[0] += 1), Malformed::Packed, "its length");
    assert_eq!(packed(&|bytes| bytes[4] = 1), Malformed::Packed, "one element more");
    assert_eq!(packed(&|bytes| bytes[4] = 3), Malformed::Packed, "one element less");
    assert_eq!(packed(&|bytes| bytes[8] = 3), Malformed::Packed, "a length backwards");
    let zipped = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = ziplist(&texts(&["a", "b"]));
        change(&mut bytes);
        refused(&blob(kind::LIST_ZIPLIST, &bytes))
    };
    assert_eq!(zipped(&|bytes| bytes[0] += 1), Malformed::Packed, "its length");
    assert_eq!(zipped(&|bytes| bytes[4] -= 1), Malformed::Packed, "where the last element is");
    assert_eq!(zipped(&|bytes| bytes[8] = 3), Malformed::Packed, "one element less");
    assert_eq!(zipped(&|bytes| bytes[13] = 2), Malformed::Packed, "the length of the first");
}

#[test]
fn counts_that_lie_are_refused_at_once() {
    let huge = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for kind in [
        kind::LIST,
        kind::SET,
        kind::HASH,
        kind::ZSET,
        kind::ZSET_2,
        kind::LIST_QUICKLIST,
        kind::LIST_QUICKLIST_2,
    ] {
        assert_eq!(refused(&[&[kind][..], &huge, b"\x01a\x01b"].concat()), Malformed::Truncated);
        assert_eq!(refused(&[vec![kind], length(3)].concat()), Malformed::Truncated);
    }
    assert_eq!(refused(&[&[kind::STRING][..], &huge].concat()), Malformed::TooLarge);
}

#[test]
fn what_is_not_kept_here_is_named() {
    for kind in [6, 7, 15, 19, 21] {
        assert_eq!(refused(&[kind, 1, 1]), Malformed::Unsupported(kind));
    }
    for kind in [8, 22, 24, 255] {
        assert_eq!(refused(&[kind, 1, 1]), Malformed::UnknownType(kind));
    }
    assert_eq!(refused(&[]), Malformed::Truncated);
}
