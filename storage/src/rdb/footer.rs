//! The payload of `DUMP`: a value, two bytes of version, eight of checksum, both little endian.

use crc::{CRC_64_REDIS, Crc, Table};
use thiserror::Error;

use super::input::{Input, Malformed};
use super::{read_value, write_value};
use crate::keyspace::{OwnedValue, Value};
use crate::types::Limits;

/// The version of the format that [`dump`] writes: that of Redis 7.0, so that it takes them too.
pub const VERSION_WRITTEN: u16 = 10;
/// The newest version that [`restore`] takes: that of Redis 7.2.
pub const VERSION_MAX: u16 = 11;

const CHECKSUM_BYTES: usize = 8;

pub(super) static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// Why a payload cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// It is too short, of a newer version, or was changed on its way.
    #[error("version or checksum of the payload are wrong")]
    Footer,
    /// The footer is right, but what is before it is no value.
    #[error("the payload is no value: {0}")]
    Content(#[from] Malformed),
}

/// The payload of `DUMP` for a value.
pub fn dump(value: Value<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    write_value(value, &mut payload);
    seal(&mut payload);
    payload
}

/// The value in a payload of `DUMP`. Its encoding follows `limits`, not what it was dumped from.
///
/// # Errors
/// See [`RestoreError`]. Unlike Redis, which ignores them, bytes between the value and the footer
/// are an error: no Redis writes any.
pub fn restore(payload: &[u8], limits: &Limits) -> Result<OwnedValue, RestoreError> {
    let mut input = Input::new(verified(payload).ok_or(RestoreError::Footer)?);
    let value = read_value(&mut input, limits)?;
    if !input.is_empty() {
        return Err(Malformed::Surplus.into());
    }
    Ok(value)
}

/// Puts the footer behind a value.
pub(super) fn seal(payload: &mut Vec<u8>) {
    payload.extend_from_slice(&VERSION_WRITTEN.to_le_bytes());
    let checksum = CHECKSUM.checksum(payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
}

/// What is before the footer, if the footer is right. The checksum covers the version.
fn verified(payload: &[u8]) -> Option<&[u8]> {
    let (covered, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let (content, version) = covered.split_last_chunk::<2>()?;
    let known = u16::from_le_bytes(*version) <= VERSION_MAX;
    let intact = known && CHECKSUM.checksum(covered) == u64::from_le_bytes(*checksum);
    intact.then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_redis() {
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_payload_is_the_one_of_redis() {
        // DUMP of redis-server 7.0.15 after SET k hello.
        let payload = b"\x00\x05hello\x0a\x00\x63\x72\xdf\x76\x65\x34\x20\x0a";
        let restored = restore(payload, &Limits::default());
        assert!(matches!(restored, Ok(OwnedValue::Str(text)) if text == b"hello"));
        assert_eq!(dump(Value::Str(b"hello")), payload);
    }

    #[test]
    fn footers_are_refused_if_anything_is_wrong() {
        let payload = dump(Value::Str(b"hello"));
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 0x10;
            let refused = restore(&changed, &Limits::default()).expect_err("a wrong checksum");
            assert_eq!(refused, RestoreError::Footer);
            let refused = restore(&payload[..at], &Limits::default()).expect_err("it is cut off");
            assert_eq!(refused, RestoreError::Footer);
        }
    }

    #[test]
    fn versions_are_taken_up_to_the_newest_known() {
        let with_version = |version: u16| {
            let mut payload = b"\x00\x01a".to_vec();
            payload.extend_from_slice(&version.to_le_bytes());
            payload.extend_from_slice(&CHECKSUM.checksum(&payload).to_le_bytes());
            restore(&payload, &Limits::default()).map(|_| ())
        };
        assert_eq!([0, 6, 10, 11].map(with_version), [Ok(()); 4]);
        assert_eq!([12, 256].map(with_version), [Err(RestoreError::Footer); 2]);
    }

    #[test]
    fn bytes_behind_the_value_are_refused() {
        let mut payload = b"\x00\x01abc".to_vec();
        seal(&mut payload);
        let refused = restore(&payload, &Limits::default()).expect_err("two bytes are left");
        assert_eq!(refused, RestoreError::Content(Malformed::Surplus));
    }
}
