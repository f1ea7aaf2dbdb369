//! The encodings of Redis that are read but never written, built by the book.

use super::super::kind;
use super::Model;
use crate::types::canonical_int;

/// A value in some encoding of Redis: what it is, and its bytes.
pub(super) type Encoder = fn(&Model) -> Option<Vec<u8>>;

/// Every encoding; each answers `None` for values of other types or beyond it.
pub(super) const ENCODERS: &[(&str, Encoder)] = &[
    ("list of ziplist", |model| Some(blob(kind::LIST_ZIPLIST, &ziplist(elements(model)?)))),
    ("quicklist of ziplists", |model| nodes(kind::LIST_QUICKLIST, elements(model)?, ziplist)),
    ("quicklist of listpacks", |model| nodes(kind::LIST_QUICKLIST_2, elements(model)?, listpack)),
    ("quicklist of plain nodes", plain_nodes),
    ("set of intset", intset),
    ("set of listpack", |model| Some(blob(kind::SET_LISTPACK, &listpack(&members(model)?)))),
    ("hash of zipmap", |model| Some(blob(kind::HASH_ZIPMAP, &zipmap(&pairs(model)?)))),
    ("hash of ziplist", |model| Some(blob(kind::HASH_ZIPLIST, &ziplist(&pairs(model)?)))),
    ("hash of listpack", |model| Some(blob(kind::HASH_LISTPACK, &listpack(&pairs(model)?)))),
    ("sorted set of texts", text_scores),
    ("sorted set of ziplist", |model| Some(blob(kind::ZSET_ZIPLIST, &ziplist(&scored(model)?)))),
    ("sorted set of listpack", |model| Some(blob(kind::ZSET_LISTPACK, &listpack(&scored(model)?)))),
];

fn elements(model: &Model) -> Option<&[Vec<u8>]> {
    match model {
        Model::List(elements) => Some(elements),
        _ => None,
    }
}

fn members(model: &Model) -> Option<Vec<Vec<u8>>> {
    match model {
        Model::Set(members) => Some(members.iter().cloned().collect()),
        _ => None,
    }
}

fn pairs(model: &Model) -> Option<Vec<Vec<u8>>> {
    match model {
        Model::Hash(fields) => {
            Some(fields.iter().flat_map(|(field, value)| [field.clone(), value.clone()]).collect())
        }
        _ => None,
    }
}

/// Members and the texts of their scores.
fn scored(model: &Model) -> Option<Vec<Vec<u8>>> {
    match model {
        Model::ZSet(members) => Some(
            members
                .iter()
                .flat_map(|(member, score)| [member.clone(), score.to_string().into_bytes()])
                .collect(),
        ),
        _ => None,
    }
}

/// A length in one of its longer forms, which are allowed for any.
pub(super) fn length(len: usize) -> Vec<u8> {
    let len = u32::try_from(len).expect("a test's length");
    [&[0x80][..], &len.to_be_bytes()].concat()
}

pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    [length(bytes.len()), bytes.to_vec()].concat()
}

pub(super) fn blob(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![kind], string(bytes)].concat()
}

fn nodes(kind: u8, elements: &[Vec<u8>], pack: fn(&[Vec<u8>]) -> Vec<u8>) -> Option<Vec<u8>> {
    const PER_NODE: usize = 9;
    let mut out = vec![kind];
    out.extend(length(elements.len().div_ceil(PER_NODE)));
    for node in elements.chunks(PER_NODE) {
        if kind == kind::LIST_QUICKLIST_2 {
            out.push(2);
        }
        out.extend(string(&pack(node)));
    }
    Some(out)
}

fn plain_nodes(model: &Model) -> Option<Vec<u8>> {
    let elements = elements(model)?;
    let mut out = vec![kind::LIST_QUICKLIST_2];
    out.extend(length(elements.len()));
    for element in elements {
        // No Redis keeps an empty element in a node of its own.
        if element.is_empty() {
            return None;
        }
        out.push(1);
        out.extend(string(element));
    }
    Some(out)
}

fn text_scores(model: &Model) -> Option<Vec<u8>> {
    let Model::ZSet(members) = model else { return None };
    let mut out = vec![kind::ZSET];
    out.extend(length(members.len()));
    for (member, score) in members {
        out.extend(string(member));
        match *score {
            f64::INFINITY => out.push(254),
            f64::NEG_INFINITY => out.push(255),
            score => {
                let text = format!("{score:e}");
                out.push(u8::try_from(text.len()).expect("a float is short"));
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
    Some(out)
}

fn intset(model: &Model) -> Option<Vec<u8>> {
    let mut values: Vec<i64> =
        members(model)?.iter().map(|member| canonical_int(member)).collect::<Option<_>>()?;
    values.sort_unstable();
    let fits = |bits: u32| values.iter().all(|value| value >> (bits - 1) == value >> 63);
    let width = if fits(16) {
        2
    } else if fits(32) {
        4
    } else {
        8
    };
    let mut out = Vec::new();
    out.extend_from_slice(&(width as u32).to_le_bytes());
    out.extend_from_slice(&(values.len() as u32).to_le_bytes());
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()[..width]));
    Some(blob(kind::SET_INTSET, &out))
}

/// The number of elements as it is written in two bytes.
fn count(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes()
}

pub(super) fn listpack(texts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        let entry = listpack_entry(text);
        let back_length = back_length(entry.len());
        body.extend(entry);
        body.extend(back_length);
    }
    let len = u32::try_from(4 + 2 + body.len() + 1).expect("a test's length");
    [&len.to_le_bytes()[..], &count(texts.len()), &body, &[0xff]].concat()
}

fn listpack_entry(text: &[u8]) -> Vec<u8> {
    let little = |header: u8, value: i64, width: usize| {
        [&[header][..], &value.to_le_bytes()[..width]].concat()
    };
    match canonical_int(text) {
        Some(value @ 0..=127) => vec![value as u8],
        Some(value @ -4096..=4095) => vec![0xc0 | (value >> 8) as u8 & 0x1f, value as u8],
        Some(value @ -32_768..=32_767) => little(0xf1, value, 2),
        Some(value @ -8_388_608..=8_388_607) => little(0xf2, value, 3),
        Some(value @ -2_147_483_648..=2_147_483_647) => little(0xf3, value, 4),
        Some(value) => little(0xf4, value, 8),
        None => {
            let len = text.len();
            let header = match len {
                0..64 => vec![0x80 | len as u8],
                64..4096 => vec![0xe0 | (len >> 8) as u8, len as u8],
                _ => [&[0xf0][..], &(len as u32).to_le_bytes()].concat(),
            };
            [header, text.to_vec()].concat()
        }
    }
}

fn back_length(len: usize) -> Vec<u8> {
    let mut out = vec![len as u8 & 0x7f];
    let mut rest = len >> 7;
    // The specification has limits one below the powers of two from the second byte on.
    let widths = [127, 16_382, 2_097_150];
    let width = widths.iter().filter(|max| len > **max).count() + 1;
    while out.len() < width {
        out.iter_mut().for_each(|byte| *byte |= 0x80);
        out.insert(0, rest as u8 & 0x7f);
        rest >>= 7;
    }
    out
}

pub(super) fn ziplist(texts: &[Vec<u8>]) -> Vec<u8> {
    const HEADER: usize = 10;
    let (mut body, mut previous, mut last) = (Vec::new(), 0, HEADER);
    for text in texts {
        last = HEADER + body.len();
        let mut entry = match u8::try_from(previous) {
            Ok(short @ ..254) => vec![short],
            _ => [&[0xfe][..], &(previous as u32).to_le_bytes()].concat(),
        };
        entry.extend(ziplist_content(text));
        previous = entry.len();
        body.extend(entry);
    }
    let len = (HEADER + body.len() + 1) as u32;
    let header = [&len.to_le_bytes()[..], &(last as u32).to_le_bytes(), &count(texts.len())];
    [header.concat(), body, vec![0xff]].concat()
}

fn ziplist_content(text: &[u8]) -> Vec<u8> {
    let little = |header: u8, value: i64, width: usize| {
        [&[header][..], &value.to_le_bytes()[..width]].concat()
    };
    // Redis leaves texts of 32 bytes and more alone, which no integer has.
    match canonical_int(text) {
        Some(value @ 0..=12) => vec![0xf1 + value as u8],
        Some(value @ -128..=127) => little(0xfe, value, 1),
        Some(value @ -32_768..=32_767) => little(0xc0, value, 2),
        Some(value @ -8_388_608..=8_388_607) => little(0xf0, value, 3),
        Some(value @ -2_147_483_648..=2_147_483_647) => little(0xd0, value, 4),
        Some(value) => little(0xe0, value, 8),
        None => {
            let len = text.len();
            let header = match len {
                0..64 => vec![len as u8],
                64..16_384 => vec![0x40 | (len >> 8) as u8, len as u8],
                _ => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
            };
            [header, text.to_vec()].concat()
        }
    }
}

/// Some values have room behind them, as an overwritten one had.
pub(super) fn zipmap(texts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![u8::try_from(texts.len() / 2).map_or(254, |count| count.min(254))];
    for (index, text) in texts.iter().enumerate() {
        match u8::try_from(text.len()) {
            Ok(short @ ..254) => out.push(short),
            _ => out.extend([&[254][..], &(text.len() as u32).to_le_bytes()].concat()),
        }
        let unused = index % 4;
        if index % 2 == 1 {
            out.push(unused as u8);
        }
        out.extend_from_slice(text);
        if index % 2 == 1 {
            out.resize(out.len() + unused, 0xaa);
        }
    }
    out.push(0xff);
    out
}
