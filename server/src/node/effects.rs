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

/// Appends a record to a shard's buffer.
pub(crate) struct Recorder<'b> {
    buffer: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> Recorder<'b> {
    /// Begins a record with this many arguments, the command's name among them.
    pub(crate) fn begin(
        buffer: &'b mut Vec<u8>,
        (slot, db): (u16, u8),
        followers: Followers,
        group: u64,
        arguments: usize,
    ) -> Recorder<'b> {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; 8]);
        buffer.extend_from_slice(&group.to_le_bytes());
        buffer.extend_from_slice(&slot.to_le_bytes());
        buffer.extend_from_slice(&[db, followers]);
        put_number(b'*', arguments, buffer);
        Recorder { buffer, start }
    }

    /// The next argument.
    pub(crate) fn argument(self, bytes: &[u8]) -> Recorder<'b> {
        put_argument(bytes, self.buffer);
        self
    }

    /// The next argument, a number.
    pub(crate) fn number(self, number: i64) -> Recorder<'b> {
        self.argument(itoa::Buffer::new().format(number).as_bytes())
    }

    /// Ends the record.
    pub(crate) fn end(self) {
        let len = self.buffer.len() - self.start - HEADER_BYTES;
        let len = (len as u64).to_le_bytes();
        self.buffer[self.start..self.start + 8].copy_from_slice(&len);
    }
}

/// Appends an argument of a command, as clients send it.
pub(crate) fn put_argument(bytes: &[u8], to: &mut Vec<u8>) {
    put_number(b'$', bytes.len(), to);
    to.extend_from_slice(bytes);
    to.extend_from_slice(b"\r\n");
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
        Recorder::begin(&mut buffer, (7, 2), FILE, 5, 3)
            .argument(b"SET")
            .argument(b"key")
            .number(-12)
            .end();
        Recorder::begin(&mut buffer, (ALL_SLOTS, 0), FILE, 0, 1).argument(b"FLUSHALL").end();
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
