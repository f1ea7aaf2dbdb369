//! Effects on their way from the shards to those who follow them: what has been done to keys, as
//! commands that do the same again.
//!
//! A shard appends records to a buffer of its own. It sends the buffer when its state is let go,
//! and before a slot's box leaves it. So one queue has the records of every slot in the order in
//! which they were made, whatever shard made them.

/// Who follows a slot, a bit each.
pub(crate) type Followers = u8;

/// The append-only file.
pub(crate) const FILE: Followers = 1;

/// Instead of a slot: all of them.
pub(crate) const ALL_SLOTS: u16 = u16::MAX;

/// Bytes of a record before its command: its length, group, slot, database and followers.
const HEADER_BYTES: usize = 8 + 8 + 2 + 1 + 1;

/// A command on one key of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The slot, or [`ALL_SLOTS`], which were at one place when it was made.
    pub(crate) slot: u16,
    /// The database.
    pub(crate) db: u8,
    /// Whom it is for.
    pub(crate) followers: Followers,
    /// Neighbours with the same number were done together; 0: this one was done alone.
    pub(crate) group: u64,
    /// The command, as a client would send it.
    pub(crate) command: &'a [u8],
}

/// Appends a record to a shard's buffer: of a command that has these words.
pub(crate) fn record<'w>(
    buffer: &mut Vec<u8>,
    (slot, db): (u16, u8),
    followers: Followers,
    group: u64,
    words: impl ExactSizeIterator<Item = &'w [u8]>,
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&group.to_le_bytes());
    buffer.extend_from_slice(&slot.to_le_bytes());
    buffer.extend_from_slice(&[db, followers]);
    put_command(words, buffer);
    let len = (buffer.len() - start - HEADER_BYTES) as u64;
    buffer[start..start + 8].copy_from_slice(&len.to_le_bytes());
}

/// Appends a command, as clients send it.
pub(crate) fn put_command<'w>(words: impl ExactSizeIterator<Item = &'w [u8]>, to: &mut Vec<u8>) {
    put_number(b'*', words.len(), to);
    for word in words {
        put_number(b'$', word.len(), to);
        to.extend_from_slice(word);
        to.extend_from_slice(b"\r\n");
    }
}

fn put_number(kind: u8, number: usize, to: &mut Vec<u8>) {
    to.push(kind);
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    to.extend_from_slice(b"\r\n");
}

/// The records of a buffer.
pub(crate) fn records(mut buffer: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (header, rest) = buffer.split_first_chunk::<HEADER_BYTES>()?;
        let (len, header) = number(header);
        let (group, header) = number(header);
        let (command, rest) = rest.split_at(usize::try_from(len).ok()?);
        buffer = rest;
        let [s0, s1, db, followers] = *header else { return None };
        let slot = u16::from_le_bytes([s0, s1]);
        Some(Record { slot, db, followers, group, command })
    })
}

/// The first eight bytes as a number, and the others.
fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let (number, rest) = bytes.split_first_chunk().expect("a header is longer");
    (u64::from_le_bytes(*number), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_made() {
        let mut buffer = Vec::new();
        let set: [&[u8]; 3] = [b"SET", b"key", b"-12"];
        record(&mut buffer, (7, 2), FILE, 5, set.into_iter());
        record(&mut buffer, (ALL_SLOTS, 0), FILE, 0, [&b"FLUSHALL"[..]].into_iter());
        let all: Vec<Record<'_>> = records(&buffer).collect();
        let set = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\n-12\r\n";
        let flush = b"*1\r\n$8\r\nFLUSHALL\r\n";
        assert_eq!(
            all,
            [
                Record { slot: 7, db: 2, followers: FILE, group: 5, command: set },
                Record { slot: ALL_SLOTS, db: 0, followers: FILE, group: 0, command: flush },
            ]
        );
    }
}
