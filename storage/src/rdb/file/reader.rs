//! A file into keys.

use std::io::Read;
use std::{fmt, io};

use crc::{Digest, Table};

use super::super::footer::CHECKSUM;
use super::super::input::{Input, Text};
use super::super::read::Partial;
use super::super::{Malformed, kind};
use super::{Access, FileError, opcode};
use crate::keyspace::OwnedValue;
use crate::slot::DATABASES;
use crate::types::Limits;

/// Bytes that are read at once.
const CHUNK_BYTES: u64 = 128 << 10;
/// A buffer that has grown beyond this for a long element is given back after it.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The newest version of Redis's format in which nothing else is known to have changed than what
/// is refused by its type.
const VERSION_MAX: u32 = 15;
/// That of Valkey's.
const VALKEY_VERSION_MAX: u32 = 80;
/// Since this version a file ends with a checksum.
const VERSION_WITH_CHECKSUM: u32 = 5;

/// Reads a file, record by record.
pub struct Reader<R> {
    from: R,
    limits: Limits,
    /// What has been read of the file and may not have been taken yet.
    window: Vec<u8>,
    /// Bytes of `window` that have been taken.
    taken: usize,
    /// Where in the file the next byte is that has not been taken.
    offset: u64,
    /// Bytes that have not been read yet, if the file is as long as its length was said to be.
    left_bytes: u64,
    checksum: Digest<'static, u64, Table<16>>,
    checks: bool,
    stage: Stage,
    database: u8,
    /// What has been read of the next key.
    expiry: Option<i64>,
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    /// Of this version.
    Records(u32),
    Ended,
}

/// What a file holds.
#[derive(Debug)]
pub enum Record {
    /// A field of its origin.
    Field {
        /// `redis-ver`, `ctime` and others.
        name: Vec<u8>,
        /// Its text.
        value: Vec<u8>,
    },
    /// A database follows that had so many keys.
    Database {
        /// How many.
        keys: u64,
    },
    /// A key.
    Key(KeyRecord),
    /// Something that is passed over.
    Lost(Lost),
}

/// A key with all that the file says of it.
#[derive(Debug)]
pub struct KeyRecord {
    /// Where its type is in the file.
    pub offset: u64,
    /// Its database.
    pub database: u8,
    /// Its name.
    pub name: Vec<u8>,
    /// Its value.
    pub value: OwnedValue,
    /// When it expires, in Unix milliseconds.
    pub expiry: Option<i64>,
    /// What the eviction policy knew of it.
    pub access: Access,
}

/// What is passed over, as there is nothing here that could keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A library of functions.
    Functions,
    /// What a module keeps beside keys: its name.
    Module(String),
    /// A key without elements, which old versions of Redis could leave behind.
    EmptyKey(Vec<u8>),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Functions => write!(f, "a library of functions"),
            Lost::Module(name) => write!(f, "data of the module type {name}"),
            Lost::EmptyKey(name) => write!(f, "the empty key '{}'", name.escape_ascii()),
        }
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Reads a file of `file_bytes`. Collections get the encoding that they would have if commands
    /// had made them under `limits`.
    pub fn new(from: R, file_bytes: u64, limits: Limits) -> Reader<R> {
        Reader {
            from,
            limits,
            window: Vec::new(),
            taken: 0,
            offset: 0,
            left_bytes: file_bytes,
            checksum: CHECKSUM.digest(),
            checks: true,
            stage: Stage::Header,
            database: 0,
            expiry: None,
            access: Access::Unknown,
        }
    }

    /// Takes any checksum for right.
    #[must_use]
    pub fn without_checksum(self) -> Reader<R> {
        Reader { checks: false, ..self }
    }

    /// Bytes that have been taken so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that it keeps of the file.
    #[cfg(test)]
    pub(in crate::rdb) fn buffer_bytes(&self) -> usize {
        self.window.capacity()
    }

    /// The next record; `None` behind the last, when all of the file has been found right.
    ///
    /// # Errors
    /// If the file is damaged or holds what cannot be kept here; nothing more can be read then.
    pub fn next_record(&mut self) -> Result<Option<Record>, FileError> {
        let version = match self.stage {
            Stage::Header => self.header()?,
            Stage::Records(version) => version,
            Stage::Ended => return Ok(None),
        };
        loop {
            let offset = self.offset;
            match self.byte()? {
                opcode::EXPIRY_MS => self.expiry = self.expiry_ms()?,
                opcode::EXPIRY_S => {
                    let seconds = i32::from_le_bytes(self.array()?);
                    self.expiry = expiry_of(i64::from(seconds).saturating_mul(1000));
                }
                opcode::IDLE => self.access = Access::Idle(self.length()?),
                opcode::FREQUENCY => {
                    let counter = self.byte()?;
                    self.access = Access::Frequency(counter);
                }
                opcode::AUX => {
                    let (name, value) = (self.text()?, self.text()?);
                    return Ok(Some(Record::Field { name, value }));
                }
                opcode::DATABASE => self.database = self.database_number(offset)?,
                opcode::RESIZE => {
                    let keys = self.length()?;
                    // How many of them expire.
                    self.length()?;
                    return Ok(Some(Record::Database { keys }));
                }
                opcode::SLOT_INFO => {
                    for _ in 0..3 {
                        self.length()?;
                    }
                }
                opcode::FUNCTION => {
                    self.text()?;
                    return Ok(Some(Record::Lost(Lost::Functions)));
                }
                opcode::MODULE_AUX => return self.module().map(Record::Lost).map(Some),
                opcode::END => {
                    self.end(version)?;
                    return Ok(None);
                }
                kind => return self.key(offset, kind).map(Some),
            }
        }
    }

    /// The magic and the version.
    fn header(&mut self) -> Result<u32, FileError> {
        let magic = |error| match error {
            FileError::Malformed { .. } => FileError::Magic,
            other => other,
        };
        let header: [u8; 9] = self.array().map_err(magic)?;
        let (digits, version_max) = if let Some(digits) = header.strip_prefix(b"REDIS") {
            (digits, VERSION_MAX)
        } else if let Some(digits) = header.strip_prefix(b"VALKEY") {
            (digits, VALKEY_VERSION_MAX)
        } else {
            return Err(FileError::Magic);
        };
        let text = String::from_utf8_lossy(digits).into_owned();
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FileError::Magic);
        }
        match text.parse() {
            Ok(version) if (1..=version_max).contains(&version) => {
                self.stage = Stage::Records(version);
                Ok(version)
            }
            _ => Err(FileError::Version(text)),
        }
    }

    fn expiry_ms(&mut self) -> Result<Option<i64>, FileError> {
        Ok(expiry_of(i64::from_le_bytes(self.array()?)))
    }

    fn database_number(&mut self, offset: u64) -> Result<u8, FileError> {
        let database = self.length()?;
        let known = u8::try_from(database).ok().filter(|number| *number < DATABASES);
        known.ok_or(FileError::Database { offset, database })
    }

    /// A key, whose type has been taken.
    fn key(&mut self, offset: u64, kind: u8) -> Result<Record, FileError> {
        let partial = Partial::of(kind);
        let mut partial = partial.map_err(|reason| refusal(offset, kind, reason))?;
        let name = self.text()?;
        let (expiry, access) =
            (self.expiry.take(), std::mem::replace(&mut self.access, Access::Unknown));
        let value = loop {
            let mut input = Input::followed(&self.window[self.taken..], self.left_bytes);
            let result = partial.read_on(&mut input, &self.limits);
            let (missing, rest) = (input.missing_bytes(), input.rest().len());
            self.advance(self.window.len() - self.taken - rest);
            match (result, missing) {
                (Ok(value), _) => break value,
                (Err(Malformed::Truncated), Some(missing)) => self.fill(missing)?,
                (Err(Malformed::Empty), _) => return Ok(Record::Lost(Lost::EmptyKey(name))),
                (Err(reason), _) => {
                    return Err(FileError::Malformed { offset: self.offset, reason });
                }
            }
        };
        let database = self.database;
        Ok(Record::Key(KeyRecord { offset, database, name, value, expiry, access }))
    }

    fn text(&mut self) -> Result<Vec<u8>, FileError> {
        self.take(|input| {
            Ok(match input.text()? {
                Text::Inflated(bytes) => bytes,
                text => text.with_bytes(<[u8]>::to_vec),
            })
        })
    }

    /// Passes over what a module has written, which says of each part what it is.
    fn module(&mut self) -> Result<Lost, FileError> {
        let id = self.length()?;
        // When it is to be loaded, as a part of its own.
        for _ in 0..2 {
            self.length()?;
        }
        loop {
            let offset = self.offset;
            match self.length()? {
                part::END => return Ok(Lost::Module(module_name(id))),
                part::SIGNED | part::UNSIGNED => drop(self.length()?),
                part::FLOAT => drop(self.array::<4>()?),
                part::DOUBLE => drop(self.array::<8>()?),
                part::STRING => drop(self.text()?),
                _ => return Err(FileError::Malformed { offset, reason: Malformed::Module }),
            }
        }
    }

    /// The checksum, behind which nothing follows.
    fn end(&mut self, version: u32) -> Result<(), FileError> {
        let offset = self.offset;
        if version >= VERSION_WITH_CHECKSUM {
            let computed = self.checksum.clone().finalize();
            let found = u64::from_le_bytes(self.array()?);
            // A zero is of a file without one.
            if self.checks && found != 0 && found != computed {
                return Err(FileError::Checksum { offset, found, computed });
            }
        }
        if self.window.len() == self.taken && self.left_bytes > 0 {
            self.fill(1)?;
        }
        if self.window.len() > self.taken {
            return Err(FileError::Malformed { offset: self.offset, reason: Malformed::Surplus });
        }
        self.stage = Stage::Ended;
        Ok(())
    }

    /// Takes what `f` takes, when all of it is there.
    fn take<T>(
        &mut self,
        mut f: impl FnMut(&mut Input<'_>) -> Result<T, Malformed>,
    ) -> Result<T, FileError> {
        loop {
            let mut input = Input::followed(&self.window[self.taken..], self.left_bytes);
            let result = input.attempt(&mut f);
            let (missing, rest) = (input.missing_bytes(), input.rest().len());
            match (result, missing) {
                (Ok(value), _) => {
                    self.advance(self.window.len() - self.taken - rest);
                    return Ok(value);
                }
                (Err(Malformed::Truncated), Some(missing)) => self.fill(missing)?,
                (Err(reason), _) => {
                    return Err(FileError::Malformed { offset: self.offset, reason });
                }
            }
        }
    }

    fn advance(&mut self, len: usize) {
        let end = self.taken + len;
        self.checksum.update(&self.window[self.taken..end]);
        self.taken = end;
        self.offset += len as u64;
    }

    /// Reads `missing_bytes` more, or up to the end of the file.
    fn fill(&mut self, missing_bytes: u64) -> Result<(), FileError> {
        self.window.drain(..self.taken);
        self.taken = 0;
        if self.window.len() < KEPT_BYTES_MAX / 2 {
            self.window.shrink_to(KEPT_BYTES_MAX);
        }
        let before = self.window.len();
        let wanted = missing_bytes.max(CHUNK_BYTES).min(self.left_bytes);
        let read = (&mut self.from).take(wanted).read_to_end(&mut self.window);
        read.map_err(|error: io::Error| FileError::Io {
            offset: self.offset + before as u64,
            error,
        })?;
        let more = (self.window.len() - before) as u64;
        // A file that has become shorter has nothing left.
        self.left_bytes = if more < wanted { 0 } else { self.left_bytes - more };
        Ok(())
    }
}

/// Of an input of any lifetime, which the methods' names alone are not.
#[allow(clippy::redundant_closure_for_method_calls, reason = "see above")]
impl<R: Read> Reader<R> {
    fn byte(&mut self) -> Result<u8, FileError> {
        self.take(|input| input.byte())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        self.take(|input| input.array())
    }

    fn length(&mut self) -> Result<u64, FileError> {
        self.take(|input| input.length())
    }
}

/// Redis writes none as -1.
fn expiry_of(at_ms: i64) -> Option<i64> {
    (at_ms != -1).then_some(at_ms)
}

/// What cannot be read by its type.
fn refusal(offset: u64, kind: u8, reason: Malformed) -> FileError {
    let what = match kind {
        kind::MODULE | kind::MODULE_2 => "the value of a module",
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => "a stream",
        // Redis 7.4 and its release candidates; 22 is also Valkey's.
        22..=25 => "a hash with fields that expire",
        opcode::FUNCTION_CANDIDATE => "a library of functions of a release candidate",
        _ => return FileError::Malformed { offset, reason },
    };
    FileError::Unsupported { offset, kind, what }
}

/// What is in front of a part that a module has written.
mod part {
    pub(super) const END: u64 = 0;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = 5;
}

/// The name of a module's type: nine characters of six bits, in front of ten bits of version.
fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).rev().map(|at| char::from(LETTERS[(id >> (10 + 6 * at) & 0x3f) as usize])).collect()
}
