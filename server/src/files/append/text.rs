//! A base as commands, for who wants to read it (`aof-use-rdb-preamble no`).

use std::io::{self, BufWriter, Write};

use ballast_protocol::number::format_f64;
use ballast_storage::types::Element;
use ballast_storage::{DATABASES, Keyspace, Value};

use crate::engine::Engine;
use crate::node::effects::put_command;

/// Elements that a command adds at most.
const ELEMENTS_MAX: usize = 64;

/// Writes all keys as commands; all slots are here.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn write_commands<W: Write>(engine: &Engine, to: W) -> io::Result<W> {
    let mut to = BufWriter::new(to);
    for database in 0..DATABASES {
        let slots = engine.boxes().filter_map(|(_, boxed)| boxed.data().keyspace(database));
        let mut is_selected = false;
        for (key, value) in slots.flat_map(Keyspace::iter_values) {
            if !is_selected {
                is_selected = true;
                put(&mut to, &[b"SELECT", database.to_string().as_bytes()])?;
            }
            write_value(&mut to, key.key, value)?;
            if let Some(at_ms) = key.meta.expiry {
                put(&mut to, &[b"PEXPIREAT", key.key, at_ms.to_string().as_bytes()])?;
            }
        }
    }
    to.into_inner().map_err(io::IntoInnerError::into_error)
}

fn write_value(to: &mut impl Write, key: &[u8], value: Value<'_>) -> io::Result<()> {
    match value {
        Value::Int(number) => put(to, &[b"SET", key, number.to_string().as_bytes()]),
        Value::Str(text) => put(to, &[b"SET", key, text]),
        Value::List(list) => add(to, b"RPUSH", key, 1, &mut list.iter().map(bytes)),
        Value::Set(set) => add(to, b"SADD", key, 1, &mut set.iter().map(bytes)),
        Value::Hash(hash) => {
            let pairs = hash.iter().flat_map(|(field, value)| [bytes(field), bytes(value)]);
            add(to, b"HSET", key, 2, &mut { pairs })
        }
        Value::ZSet(zset) => {
            let pairs = zset.iter().flat_map(|(member, score)| {
                [format_f64(score).to_string().into_bytes(), bytes(member)]
            });
            add(to, b"ZADD", key, 2, &mut { pairs })
        }
    }
}

/// Adds elements of so many arguments each, some at a time.
fn add(
    to: &mut impl Write,
    command: &[u8],
    key: &[u8],
    arguments: usize,
    elements: &mut dyn Iterator<Item = Vec<u8>>,
) -> io::Result<()> {
    loop {
        let some: Vec<Vec<u8>> = elements.take(ELEMENTS_MAX * arguments).collect();
        if some.is_empty() {
            return Ok(());
        }
        let words: Vec<&[u8]> =
            [command, key].into_iter().chain(some.iter().map(|it| &it[..])).collect();
        put(to, &words)?;
    }
}

fn bytes(element: Element<'_>) -> Vec<u8> {
    element.with_bytes(<[u8]>::to_vec)
}

fn put(to: &mut impl Write, words: &[&[u8]]) -> io::Result<()> {
    let mut command = Vec::new();
    put_command(words.iter().copied(), &mut command);
    to.write_all(&command)
}
