//! Keys into a file.

use std::io::{self, Write};

use crc::{Digest, Table};

use super::super::compressed::Folder;
use super::super::footer::{CHECKSUM, VERSION_WRITTEN};
use super::super::input::COMPRESSED;
use super::super::write::{Sink, kind_of, write_content, write_element, write_length};
use super::{Access, Chunk, opcode};
use crate::keyspace::Value;
use crate::types::Element;

/// Bytes that are written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Long strings are compressed where that makes them shorter.
    pub compresses: bool,
    /// The file ends with its checksum; otherwise with a zero, which stands for none.
    pub has_checksum: bool,
}

/// Writes a file: fields of its origin, databases with their keys, the end.
///
/// Once something could not be written, every call says so, and what is written is worth nothing.
pub struct Writer<W> {
    to: W,
    /// What has not been given to `to` yet.
    chunk: Vec<u8>,
    written_bytes: u64,
    checksum: Option<Digest<'static, u64, Table<16>>>,
    folder: Option<Folder>,
    /// The first error, which has not been returned yet.
    failure: Option<io::Error>,
}

impl<W> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("written_bytes", &self.written_bytes).finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn new(to: W, options: Options) -> Writer<W> {
        Writer {
            to,
            chunk: format!("REDIS{VERSION_WRITTEN:04}").into_bytes(),
            written_bytes: 0,
            checksum: options.has_checksum.then(|| CHECKSUM.digest()),
            folder: options.compresses.then(Folder::new),
            failure: None,
        }
    }

    /// Writes a field of the file's origin.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn field(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.put(&[opcode::AUX]);
        write_element(Element::Bytes(name.as_bytes()), self);
        write_element(Element::Bytes(value.as_bytes()), self);
        self.result()
    }

    /// Begins a database with so many keys, of which so many expire.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn database(&mut self, database: u8, keys: u64, expiring: u64) -> io::Result<()> {
        self.put(&[opcode::DATABASE]);
        write_length(u64::from(database), self);
        self.put(&[opcode::RESIZE]);
        write_length(keys, self);
        write_length(expiring, self);
        self.result()
    }

    /// Writes a key of the database that has been begun. It expires at `expiry`, in Unix
    /// milliseconds.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn key(
        &mut self,
        name: &[u8],
        value: Value<'_>,
        expiry: Option<i64>,
        access: Access,
    ) -> io::Result<()> {
        write_key(self, name, value, expiry, access);
        self.result()
    }

    /// Writes keys that have been collected elsewhere. A database that has been begun ends.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn chunk(&mut self, chunk: &Chunk) -> io::Result<()> {
        chunk.write_to(self);
        self.result()
    }

    /// Bytes that are written, or wait for more.
    pub fn len(&self) -> u64 {
        self.written_bytes + self.chunk.len() as u64
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the file. Answers what it was written to and its length in bytes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.put(&[opcode::END]);
        self.flush();
        let checksum = match self.checksum.take() {
            Some(digest) => digest.finalize(),
            None => 0,
        };
        self.put(&checksum.to_le_bytes());
        self.flush();
        self.result()?;
        Ok((self.to, self.written_bytes))
    }

    fn result(&mut self) -> io::Result<()> {
        match self.failure.take() {
            None => Ok(()),
            Some(error) => {
                // What comes later fails as well.
                self.failure = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }

    fn flush(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.chunk);
        }
        if self.failure.is_none() {
            self.failure = self.to.write_all(&self.chunk).err();
            self.written_bytes += self.chunk.len() as u64;
        }
        self.chunk.clear();
    }
}

/// Writes a key with all that stands in front of it.
pub(super) fn write_key<S: Sink>(
    out: &mut S,
    name: &[u8],
    value: Value<'_>,
    expiry: Option<i64>,
    access: Access,
) {
    if let Some(at_ms) = expiry {
        out.put(&[opcode::EXPIRY_MS]);
        out.put(&at_ms.to_le_bytes());
    }
    match access {
        Access::Unknown => {}
        Access::Idle(seconds) => {
            out.put(&[opcode::IDLE]);
            write_length(seconds, out);
        }
        Access::Frequency(counter) => out.put(&[opcode::FREQUENCY, counter]),
    }
    out.put(&[kind_of(value)]);
    write_element(Element::Bytes(name), out);
    write_content(value, out);
}

impl<W: Write> Sink for Writer<W> {
    fn put(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(CHUNK_BYTES) {
            if self.chunk.len() + part.len() > CHUNK_BYTES {
                self.flush();
            }
            self.chunk.extend_from_slice(part);
        }
    }

    fn put_string(&mut self, bytes: &[u8]) {
        // Out of its place, as writing needs the rest of the writer.
        let mut folder = self.folder.take();
        match folder.as_mut().and_then(|folder| folder.fold(bytes)) {
            Some(folded) => {
                self.put(&[COMPRESSED]);
                write_length(folded.len() as u64, self);
                write_length(bytes.len() as u64, self);
                self.put(folded);
            }
            None => {
                write_length(bytes.len() as u64, self);
                self.put(bytes);
            }
        }
        self.folder = folder;
    }
}
