//! What a key costs beyond its own bytes and its value's, by `used_memory`.

use clap::Args;

use crate::Outcome;
use crate::load::fill;
use crate::server::{Server, Which};
use crate::table::Table;

/// Far enough away that nothing expires, in Unix milliseconds (the year 2100).
const EXPIRY_MS: &str = "4102444800000";
const GIB: u64 = 1 << 30;

#[derive(Args)]
pub(crate) struct Options {
    /// Keys of the shapes that are strings; collections take a tenth.
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,
    /// Leave out the sweep over 1 to 4 million keys and the resident memory.
    #[arg(long)]
    quick: bool,
    /// Shard threads of Ballast.
    #[arg(long, default_value_t = 1)]
    shards: usize,
}

/// A kind of key, and the bytes of data that one of them holds beside its name of 16 bytes.
struct Shape {
    name: &'static str,
    /// One of so many of `Options::keys`.
    part: u64,
    command: fn(u64) -> Vec<Vec<u8>>,
}

const KEY_BYTES: u64 = 16;

const SHAPES: &[Shape] = &[
    Shape { name: "string of 32 B", part: 1, command: |n| set(n, 32, false) },
    Shape { name: "string of 32 B, expiring", part: 1, command: |n| set(n, 32, true) },
    Shape { name: "string of 1 KiB", part: 4, command: |n| set(n, 1024, false) },
    Shape {
        name: "hash of 10 (8 B: 16 B)",
        part: 10,
        command: |n| {
            items("HSET", n, 10, |at| vec![text("field", 8, at), text("value", 16, n + at)])
        },
    },
    Shape {
        name: "sorted set of 20 (12 B)",
        part: 10,
        command: |n| {
            items("ZADD", n, 20, |at| {
                vec![(at * 7).to_string().into_bytes(), text("m", 12, n + at)]
            })
        },
    },
    Shape {
        name: "list of 20 (16 B)",
        part: 10,
        command: |n| items("RPUSH", n, 20, |at| vec![text("item", 16, n + at)]),
    },
    Shape {
        name: "set of 20 integers (7 digits)",
        part: 10,
        command: |n| items("SADD", n, 20, |at| vec![(1_000_000 + n + at).to_string().into_bytes()]),
    },
    Shape {
        name: "set of 20 strings (12 B)",
        part: 10,
        command: |n| items("SADD", n, 20, |at| vec![text("m", 12, n + at)]),
    },
];

pub(crate) fn run(options: &Options) -> Outcome<()> {
    println!("Bytes of `used_memory` for a key, less its name (16 B) and the bytes of its data\n");
    let table = Table::begin(&["shape", "keys", "data B", "redis", "ballast", "ballast ÷ redis"]);
    let both = [Which::Redis, Which::Ballast { shards: options.shards }];
    for shape in SHAPES {
        let keys = options.keys / shape.part;
        let mut overheads = Vec::new();
        for which in both {
            let server = Server::start(which, "0", &[])?;
            overheads.push(overhead(&server, shape, 0, keys, server.used_bytes()?)?);
        }
        table.row(&[
            shape.name.to_owned(),
            keys.to_string(),
            data_bytes(shape).to_string(),
            format!("{:.1}", overheads[0]),
            format!("{:.1}", overheads[1]),
            format!("{:.2}", overheads[1] / overheads[0]),
        ]);
    }
    if !options.quick {
        sweep(both)?;
        resident(both)?;
    }
    Ok(())
}

/// Adds the keys from `first` to `end`; bytes per key over the `before` of the empty server.
fn overhead(server: &Server, shape: &Shape, first: u64, end: u64, before: u64) -> Outcome<f64> {
    fill(&mut server.connect()?, end - first, |number| (shape.command)(first + number))?;
    let used = server.used_bytes()?.saturating_sub(before) as f64;
    Ok(used / end as f64 - (KEY_BYTES + data_bytes(shape)) as f64)
}

/// The bytes of a key's data: names and values of strings, 8 for a score.
fn data_bytes(shape: &Shape) -> u64 {
    let words = (shape.command)(0);
    let lens = words[2..].iter().map(|word| word.len() as u64);
    match words[0].as_slice() {
        b"ZADD" => words[3..].iter().step_by(2).map(|word| 8 + word.len() as u64).sum(),
        b"SET" => words[2].len() as u64,
        _ => lens.sum(),
    }
}

/// Tables grow in steps: what matters is the mean over sizes, and the worst.
fn sweep(both: [Which; 2]) -> Outcome<()> {
    const STEP: u64 = 250_000;
    println!("\nString of 32 B over 1 to 4 million keys in steps of {STEP}\n");
    let table = Table::begin(&["server", "mean", "max"]);
    for which in both {
        let server = Server::start(which, "0", &[])?;
        let before = server.used_bytes()?;
        let mut keys = 0;
        let mut overheads = Vec::new();
        for end in (1..=16).map(|step| step * STEP) {
            let bytes = overhead(&server, &SHAPES[0], keys, end, before)?;
            keys = end;
            if end >= 1_000_000 {
                overheads.push(bytes);
            }
        }
        let mean = overheads.iter().sum::<f64>() / overheads.len() as f64;
        let max = overheads.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        table.row(&[which.name().to_owned(), format!("{mean:.1}"), format!("{max:.1}")]);
    }
    Ok(())
}

/// Resident memory over `used_memory`, when there is a gigabyte of it.
fn resident(both: [Which; 2]) -> Outcome<()> {
    const STEP: u64 = 100_000;
    println!("\nResident memory at 1 GiB of `used_memory`, strings of 100 B\n");
    let table = Table::begin(&["server", "keys", "used MiB", "RSS MiB", "RSS ÷ used"]);
    for which in both {
        let server = Server::start(which, "0", &[])?;
        let mut client = server.connect()?;
        let mut keys = 0;
        while server.used_bytes()? < GIB {
            fill(&mut client, STEP, |number| set(keys + number, 100, false))?;
            keys += STEP;
        }
        let (used, rss) = (server.used_bytes()?, server.rss_bytes()?);
        table.row(&[
            which.name().to_owned(),
            keys.to_string(),
            (used >> 20).to_string(),
            (rss >> 20).to_string(),
            format!("{:.3}", rss as f64 / used as f64),
        ]);
    }
    Ok(())
}

fn key(number: u64) -> Vec<u8> {
    text("key:", 16, number)
}

/// `prefix` and zeros and the number, `len` bytes in all.
fn text(prefix: &str, len: usize, number: u64) -> Vec<u8> {
    let width = len - prefix.len();
    let number = number % 10_u64.saturating_pow(u32::try_from(width).unwrap_or(u32::MAX));
    format!("{prefix}{number:0width$}").into_bytes()
}

fn set(number: u64, value_bytes: usize, expiring: bool) -> Vec<Vec<u8>> {
    let mut words = vec![b"SET".to_vec(), key(number), vec![b'v'; value_bytes]];
    if expiring {
        words.extend([b"PXAT".to_vec(), EXPIRY_MS.into()]);
    }
    words
}

fn items(command: &str, number: u64, len: u64, item: impl Fn(u64) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut words = vec![command.as_bytes().to_vec(), key(number)];
    words.extend((0..len).flat_map(item));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_hold_what_their_names_say() {
        let bytes: Vec<u64> = SHAPES.iter().map(data_bytes).collect();
        assert_eq!(bytes, [32, 32, 1024, 240, 400, 320, 140, 240]);
        assert!(SHAPES.iter().all(|shape| (shape.command)(123)[1].len() as u64 == KEY_BYTES));
    }
}
