//! Whole files: what is written comes back, and what is damaged is refused without harm.

use std::io::{self, Read};

use proptest::prelude::*;

use super::super::file::{Access, FileError, Lost, Options, Reader, Record, Writer};
use super::super::kind;
use super::build::string;
use super::{Input, Limits, Malformed, Model, kept, model, text};

/// A key with all that a file keeps of it.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    database: u8,
    name: Vec<u8>,
    model: Model,
    expiry: Option<i64>,
    access: Access,
}

const PLAIN: Options = Options { compresses: false, has_checksum: true };

fn file_of(entries: &[Entry], options: Options) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), options);
    writer.field("redis-ver", "7.0.15").unwrap();
    for database in 0..16 {
        let of: Vec<&Entry> = entries.iter().filter(|entry| entry.database == database).collect();
        if of.is_empty() {
            continue;
        }
        let expiring = of.iter().filter(|entry| entry.expiry.is_some()).count();
        writer.database(database, of.len() as u64, expiring as u64).unwrap();
        for Entry { name, model, expiry, access, .. } in of {
            kept(model.build(&Limits::default()), |value| {
                writer.key(name, value, *expiry, *access).unwrap();
            });
        }
    }
    let (bytes, len) = writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, len);
    bytes
}

/// The keys of a file and what is passed over, read in pieces of so many bytes.
fn read_pieces(bytes: &[u8], piece: usize) -> Result<(Vec<Entry>, Vec<Lost>), FileError> {
    let from = Pieces { bytes, piece };
    let mut reader = Reader::new(from, bytes.len() as u64, Limits::default());
    let (mut entries, mut lost) = (Vec::new(), Vec::new());
    while let Some(record) = reader.next_record()? {
        match record {
            Record::Field { .. } | Record::Database { .. } => {}
            Record::Lost(what) => lost.push(what),
            Record::Key(key) => entries.push(Entry {
                database: key.database,
                name: key.name,
                model: kept(key.value, Model::of),
                expiry: key.expiry,
                access: key.access,
            }),
        }
    }
    assert_eq!(reader.offset(), bytes.len() as u64);
    assert!(reader.next_record().unwrap().is_none());
    Ok((entries, lost))
}

fn read_file(bytes: &[u8]) -> Result<Vec<Entry>, FileError> {
    read_pieces(bytes, bytes.len().max(1)).map(|(entries, _)| entries)
}

/// Gives a few bytes at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.piece.min(into.len()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(len);
        into[..len].copy_from_slice(now);
        self.bytes = later;
        Ok(len)
    }
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        3 => Just(Access::Unknown),
        1 => (0u64..1 << 40).prop_map(Access::Idle),
        1 => any::<u8>().prop_map(Access::Frequency),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let expiry = prop::option::of(0i64..i64::MAX);
    (0u8..16, text(), model(), expiry, access()).prop_map(
        |(database, name, model, expiry, access)| Entry { database, name, model, expiry, access },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_data_set_comes_back(
        mut entries in prop::collection::vec(entry(), 0..12),
        compresses: bool,
        has_checksum: bool,
        piece in 1usize..5000,
    ) {
        entries.sort_by_key(|entry| entry.database);
        let bytes = file_of(&entries, Options { compresses, has_checksum });
        let (read, lost) = read_pieces(&bytes, piece).unwrap();
        prop_assert_eq!(read, entries);
        prop_assert_eq!(lost, []);
    }

    #[test]
    fn any_bytes_behind_a_header_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_file(&[b"REDIS0010".as_slice(), &bytes].concat());
    }
}

/// Two databases, every type, a key that expires, one that was used.
fn small() -> Vec<Entry> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let pairs = |key: &str| [(key.as_bytes().to_vec(), b"1".to_vec())].into();
    let of = |database, name: &str, model, expiry, access| {
        let name = name.as_bytes().to_vec();
        Entry { database, name, model, expiry, access }
    };
    vec![
        of(0, "s", Model::String(vec![b'x'; 40]), Some(1 << 41), Access::Idle(70)),
        of(0, "12", Model::String(b"-77".to_vec()), None, Access::Frequency(9)),
        of(0, "l", Model::List(texts(&["a", "1000", ""])), None, Access::Unknown),
        of(3, "h", Model::Hash(pairs("f")), None, Access::Unknown),
        of(3, "set", Model::Set([b"m".to_vec()].into()), None, Access::Unknown),
        of(3, "z", Model::ZSet([(b"m".to_vec(), 1.5)].into()), None, Access::Unknown),
    ]
}

/// The bits of a file without a checksum may say something else that is right.
#[test]
fn a_changed_byte_is_an_error_or_changes_nothing_else() {
    let entries = small();
    for compresses in [false, true] {
        let bytes = file_of(&entries, Options { compresses, has_checksum: true });
        for at in 0..bytes.len() {
            for flip in (0..8).map(|bit| 1 << bit).chain([0xff]) {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                match read_file(&changed) {
                    Err(_) => {}
                    Ok(read) => panic!("byte {at} with {flip:#x}: {read:?}"),
                }
                // Whatever the checksum would have found: no panic.
                let mut reader = Reader::new(&changed[..], bytes.len() as u64, Limits::default())
                    .without_checksum();
                while let Ok(Some(_)) = reader.next_record() {}
            }
        }
    }
}

#[test]
fn every_beginning_is_an_error_and_so_is_what_follows() {
    for options in [PLAIN, Options { has_checksum: false, ..PLAIN }] {
        let bytes = file_of(&small(), options);
        assert_eq!(read_file(&bytes).unwrap(), small());
        for len in 0..bytes.len() {
            assert!(read_file(&bytes[..len]).is_err(), "{len} bytes");
            // A file that has become shorter since its length was asked for.
            let mut reader = Reader::new(&bytes[..len], bytes.len() as u64, Limits::default());
            let ended = loop {
                match reader.next_record() {
                    Ok(Some(_)) => {}
                    ended => break ended,
                }
            };
            assert!(ended.is_err(), "{len} bytes");
        }
        let longer = [&bytes[..], b"\0"].concat();
        let error = read_file(&longer).unwrap_err().to_string();
        assert_eq!(error, format!("something follows the value, at byte {}", bytes.len()));
    }
}

/// A file with this between its header and its end, without a checksum.
fn around(body: &[u8]) -> Vec<u8> {
    [b"REDIS0011".as_slice(), body, b"\xff", &[0; 8]].concat()
}

fn refused(bytes: &[u8]) -> String {
    read_file(bytes).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_kept_is_named_with_its_place() {
    for (body, text) in [
        (&b"\x0f\x01k"[..], "a stream (type 15) is not supported, at byte 9"),
        (b"\xfe\x00\x15\x01k", "a stream (type 21) is not supported, at byte 11"),
        (b"\x07\x01k", "the value of a module (type 7) is not supported, at byte 9"),
        (b"\x18\x01k", "a hash with fields that expire (type 24) is not supported, at byte 9"),
        (b"\xc8", "type 200 does not exist, at byte 9"),
        (b"\xf3", "type 243 does not exist, at byte 9"),
        (b"\xfe\x10", "database 16 does not exist here, at byte 9"),
        (b"\x00\x01k\xc4", "a length is invalid, at byte 13"),
    ] {
        assert_eq!(refused(&around(body)), text);
    }
    assert_eq!(refused(b"REDIS0099\xff"), "version 0099 of the format is not known");
    assert_eq!(refused(b"REDIS0000\xff"), "version 0000 of the format is not known");
    for no_file in [&b""[..], b"REDIS", b"VALKEYabc\xff", b"*1\r\n$4\r\nPING\r\n", b"REDIS-001\xff"]
    {
        assert!(matches!(read_file(no_file), Err(FileError::Magic)), "{}", no_file.escape_ascii());
    }
    let mut bytes = file_of(&small(), PLAIN);
    let end = bytes.len() - 8;
    bytes[end] ^= 1;
    let error = refused(&bytes);
    assert!(
        error.starts_with(&format!("the checksum of the {end} bytes before it is ")),
        "{error}"
    );
}

#[test]
fn what_others_write_beside_keys_is_read() {
    let module = [
        b"\xf7\x81".as_slice(),
        // `ReJSON-RL` of version 3.
        &((0..9).fold(0_u64, |id, at| {
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let place = letters.iter().position(|letter| *letter == b"ReJSON-RL"[at]).unwrap();
            id << 6 | place as u64
        }) << 10
            | 3)
        .to_be_bytes(),
        b"\x02\x01\x02\x05\x01\x06\x03\0\0\0\0\x04\0\0\0\0\0\0\0\0\x05\x02ab\0",
    ]
    .concat();
    let body = [
        b"\xfa\x09redis-ver\x057.2.4\xfa\x0aredis-bits\xc0\x40".as_slice(),
        &module,
        b"\xf5\x0c#!lua name=x",
        b"\xfe\x02\xfb\x03\x01\xf4\x7a\x10\x02\x01",
        b"\xfd\x00\x10\x00\x00\x00\x01a\x01v",
        b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xf9\x07\x00\x01b\xc0\x05",
        b"\x02\x01e\x00",
    ]
    .concat();
    let bytes = around(&body);
    for piece in [1, 2, 1000] {
        let (entries, lost) = read_pieces(&bytes, piece).unwrap();
        let of = |name: &[u8], value: &[u8], expiry, access| Entry {
            database: 2,
            name: name.to_vec(),
            model: Model::String(value.to_vec()),
            expiry,
            access,
        };
        let expected = [
            of(b"a", b"v", Some(0x1000 * 1000), Access::Unknown),
            of(b"b", b"5", None, Access::Frequency(7)),
        ];
        assert_eq!(entries, expected);
        let expected =
            [Lost::Module("ReJSON-RL".into()), Lost::Functions, Lost::EmptyKey(b"e".to_vec())];
        assert_eq!(lost, expected);
    }
    let valkey = [b"VALKEY080".as_slice(), &bytes[9..]].concat();
    assert_eq!(read_file(&valkey).unwrap().len(), 2);
    let old = [b"REDIS0003\x00\x01a\x01b\xff".as_slice()].concat();
    assert_eq!(read_file(&old).unwrap().len(), 1, "without a checksum");
}

/// A length or a count claims far more than the file has left, or much of it.
#[test]
fn a_claimed_length_takes_no_memory() {
    let huge = [0x81, 0, 0, 0, 0x40, 0, 0, 0, 0];
    for kind in [kind::LIST, kind::SET, kind::HASH, kind::ZSET_2, kind::STRING] {
        let body = [&[kind, 1, b'k'][..], &huge].concat();
        let error = read_file(&around(&body)).unwrap_err();
        let offset = if kind == kind::STRING { 21 } else { 12 };
        assert!(matches!(error, FileError::Malformed { offset: o, .. } if o == offset), "{error}");
    }
    // A file of a gigabyte would justify it, but this one ends.
    let mut bytes = b"REDIS0010\x00\x01k\x80\x1f\xff\xff\xff".to_vec();
    bytes.resize(5000, b'x');
    let mut reader = Reader::new(&bytes[..], 1 << 30, Limits::default());
    let error = reader.next_record().unwrap_err();
    let reason = Malformed::Truncated;
    assert!(matches!(error, FileError::Malformed { offset: 12, reason: r } if r == reason));
}

#[test]
fn a_large_collection_needs_a_small_buffer() {
    let members: Vec<u8> = (0..200_000_u32).flat_map(|n| string(&n.to_be_bytes())).collect();
    let count = super::build::length(200_000);
    let body = [&[kind::SET, 1, b'k'][..], &count, &members].concat();
    let bytes = around(&body);
    let mut reader = Reader::new(&bytes[..], bytes.len() as u64, Limits::default());
    let Some(Record::Key(key)) = reader.next_record().unwrap() else { panic!() };
    assert!(matches!(kept(key.value, Model::of), Model::Set(set) if set.len() == 200_000));
    assert!(reader.buffer_bytes() < 600_000, "{}", reader.buffer_bytes());
    assert!(reader.next_record().unwrap().is_none());
}

/// A disk that is full.
struct Full;

impl io::Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_reported() {
    let value = vec![b'x'; 200_000];
    let mut writer = Writer::new(Full, PLAIN);
    for _ in 0..2 {
        let result = writer.key(b"k", crate::keyspace::Value::Str(&value), None, Access::Unknown);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
    assert!(writer.finish().is_err());
    assert!(Writer::new(Full, PLAIN).finish().is_err());
}

#[test]
fn a_missing_end_of_the_input_is_counted() {
    let mut input = Input::followed(b"\x05ab", 3);
    assert!(matches!(input.attempt(|input| input.text().map(drop)), Err(Malformed::Truncated)));
    assert_eq!((input.missing_bytes(), input.rest().len()), (Some(3), 3));
    let mut input = Input::followed(b"\x05ab", 2);
    assert!(matches!(input.attempt(|input| input.text().map(drop)), Err(Malformed::Truncated)));
    assert_eq!(input.missing_bytes(), None);
}
