//! The fuzz target's checks on mutated seeds, a bounded number of times, on a stable compiler.
//!
//! `BALLAST_FUZZ_ITERATIONS` sets how many, `BALLAST_FUZZ_SEED` where the generator starts.

mod checks;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const ITERATIONS: u64 = 20_000;
const SEED: u64 = 0x0ba1_1a57;
/// An input does not grow beyond this.
const INPUT_BYTES_MAX: usize = 4_096;

/// One input per kind of thing that the checks look at; the first byte is the knob.
const CORPUS: &[&[u8]] = &[
    b"\x09*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*1\r\n$4\r\nPING\r\n",
    b"\x19*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*0\r\n*-1\r\n\r\nPING\r\n",
    b"\x01set k \"a \\x41\\n\" 'it\\'s'\r\nget k\n",
    b"\x03*11\r\n$1\r\na\r\n",
    b"\x03*1\r\n$16385\r\n",
    b"\x00*1\r\n$100000000000000000000000000000\r\n",
    b"\x00set a-line-that-is-too-long-for-this-limit\r\n",
    b"\x01*1048577\r\n*1\r\n:1\r\n",
    b"\x08h*[a-c^]?\\*{user:1}hello*",
    b"\x01-9223372036854775808",
    b"\x0118446744073709551615",
    b"\x01-1.7976931348623157e308",
    b"\x010x1.fffffffffffff7p1023",
    b"\x01123456789012345678901234567890.00000000000000000000123456789e-4900",
    b"\x01infinity",
];

/// Bytes that mean something to one of the parsers.
const MEANINGFUL: &[u8] = b"*$\r\n0123456789-+.eExXpP \t\"'\\[]^?{}:\0\xff";

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn mutate(input: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=input.len());
        match random.random_range(0..7) {
            0 => input.insert(at, MEANINGFUL[random.random_range(0..MEANINGFUL.len())]),
            1 => input.insert(at, random.random()),
            2 if at < input.len() => {
                input[at] = MEANINGFUL[random.random_range(0..MEANINGFUL.len())];
            }
            3 if at < input.len() => {
                input.remove(at);
            }
            4 => input.truncate(at.max(1)),
            5 => {
                let end = random.random_range(at..=input.len());
                input.extend_from_within(at..end);
            }
            _ => {
                let other = CORPUS[random.random_range(0..CORPUS.len())];
                input.extend_from_slice(&other[1..]);
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

#[test]
fn nothing_breaks_on_mutated_seeds() {
    let iterations = from_environment("BALLAST_FUZZ_ITERATIONS", ITERATIONS);
    let seed = from_environment("BALLAST_FUZZ_SEED", SEED);
    println!("BALLAST_FUZZ_SEED={seed} BALLAST_FUZZ_ITERATIONS={iterations}");
    CORPUS.iter().for_each(|input| checks::check(input));

    let mut random = StdRng::seed_from_u64(seed);
    let mut input = Vec::new();
    for _ in 0..iterations {
        // Mutations pile up for a while, so that inputs get far away from the seeds.
        if input.is_empty() || random.random_ratio(1, 8) {
            input = CORPUS[random.random_range(0..CORPUS.len())].to_vec();
        }
        mutate(&mut input, &mut random);
        checks::check(&input);
    }
}
