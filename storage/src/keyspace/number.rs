//! Counters: adding to a string that is an integer, in place wherever its packed size stays.

use super::held::{pack_int, tag, unpack_int, value_of};
use super::{Key, Keyspace, Value};
use crate::table::NewEntry;
use crate::types::canonical_int;

/// Why [`Keyspace::add`] has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The key holds another kind.
    WrongType,
    /// The string is no canonical decimal integer.
    NotInteger,
    /// The sum is no 64-bit integer.
    Overflow,
}

impl Keyspace {
    /// Adds to the integer that a string is and returns the sum; a missing key counts as 0. The
    /// expiry stays.
    ///
    /// # Errors
    /// If the key holds another kind, no integer, or one that would overflow.
    #[inline]
    pub fn add(&mut self, key: &Key<'_>, amount: i64, aux: u32) -> Result<i64, AddError> {
        let mut bytes = [0; 8];
        let (sum, expiry) = match self.table.find_mut(key.hash, key.bytes) {
            None => (amount, None),
            Some(mut entry) => {
                let old = entry.as_ref();
                let number = if old.tag() == tag::INT {
                    unpack_int(old.payload())
                } else {
                    match value_of(old) {
                        Value::Int(number) => number,
                        Value::Str(text) => canonical_int(text).ok_or(AddError::NotInteger)?,
                        _ => return Err(AddError::WrongType),
                    }
                };
                let sum = number.checked_add(amount).ok_or(AddError::Overflow)?;
                let packed = pack_int(sum, &mut bytes);
                if old.tag() == tag::INT && old.payload().len() == packed.len() {
                    entry.payload_mut().copy_from_slice(packed);
                    entry.set_aux(aux);
                    return Ok(sum);
                }
                (sum, old.expiry())
            }
        };
        let payload = pack_int(sum, &mut bytes);
        self.table.upsert(key.hash, key.bytes, NewEntry { tag: tag::INT, aux, expiry, payload });
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_added_to_stays() {
        let mut keys = Keyspace::new();
        let key = Key::new(b"k");
        keys.set_string(&key, b"abc", None, 0);
        assert_eq!(keys.add(&key, 1, 0), Err(AddError::NotInteger));
        keys.set_string(&key, b"9223372036854775807", None, 0);
        assert_eq!(keys.add(&key, 1, 0), Err(AddError::Overflow));
        assert!(matches!(keys.find(&key), Some(Value::Int(i64::MAX))));
        keys.remove(&key);
        let set = keys.update_list(&key, super::super::Create::IfMissing, |list| {
            list.push_back(b"x", &crate::types::Limits::default());
        });
        assert_eq!(set, Ok(Some(())));
        assert_eq!(keys.add(&key, 1, 0), Err(AddError::WrongType));
    }

    proptest! {
        #[test]
        fn sums_are_exact_and_the_expiry_stays(
            start: i64,
            amounts in proptest::collection::vec(prop_oneof![-300_i64..300, any::<i64>()], 1..20),
            expiry: Option<u32>,
            spelt: bool,
        ) {
            let mut keys = Keyspace::new();
            let key = Key::new(b"counter");
            let expiry = expiry.map(i64::from);
            if spelt {
                // APPEND leaves digits that are not packed.
                keys.append(&key, b"", 0).unwrap();
                keys.append(&key, start.to_string().as_bytes(), 0).unwrap();
                keys.set_expiry(&key, expiry);
            } else {
                keys.set_int(&key, start, expiry, 0);
            }
            let mut sum = start;
            for amount in amounts {
                match sum.checked_add(amount) {
                    Some(new) => {
                        sum = new;
                        prop_assert_eq!(keys.add(&key, amount, 5), Ok(sum));
                        prop_assert!(matches!(keys.find(&key), Some(Value::Int(n)) if n == sum));
                        prop_assert_eq!(keys.meta(&key).map(|meta| meta.aux), Some(5));
                    }
                    None => prop_assert_eq!(keys.add(&key, amount, 5), Err(AddError::Overflow)),
                }
                prop_assert_eq!(keys.meta(&key).and_then(|meta| meta.expiry), expiry);
                prop_assert_eq!(keys.heap_bytes(), keys.heap_bytes_walked());
            }
            keys.remove(&key);
            prop_assert_eq!(keys.add(&key, 7, 0), Ok(7));
        }
    }
}
