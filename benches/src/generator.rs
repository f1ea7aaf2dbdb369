//! A client of our own: many connections on one thread. It sends each request when that is due,
//! whether or not earlier ones are answered, and counts its latency from then: a server that holds
//! up one request is charged for all that arrive meanwhile.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::ops::Range;
use std::time::{Duration, Instant};

use ballast_tests::support::encode_command;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::Outcome;

/// Latencies beyond are counted as this, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// How much longer than the load the last reply may take.
const LAST_REPLY_MAX: Duration = Duration::from_secs(5);
/// The first part of a run is not counted: one in so many.
const WARM_UP: u32 = 10;
/// The most that is read at once from a connection.
const READ_BYTES: usize = 64 << 10;
/// Digits of a key's number, as redis-benchmark writes it.
const DIGITS: usize = 12;

/// Which command a load consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Command {
    Get,
    Set,
}

/// When requests are due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many a second, at random times that do not depend on each other (a Poisson process), and
    /// on a random connection.
    Rate(f64),
    /// On each connection as soon as the reply to the last is there.
    Replies,
}

/// Which keys a load uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) count: u64,
    /// Each connection has its own, in a slot of their own.
    pub(crate) are_apart: bool,
}

/// How the client waits until something is due or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It looks again at once, so that it never has to be woken.
    Spin,
    /// It leaves its core to others meanwhile.
    Sleep,
}

/// A load, the same for each server that it drives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) command: Command,
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    pub(crate) keys: Keys,
    pub(crate) value_bytes: usize,
    pub(crate) length: Duration,
    pub(crate) seed: u64,
    pub(crate) wait: Wait,
}

/// What came of it.
pub(crate) struct Measured {
    /// Replies, with those that are not counted.
    pub(crate) replies: u64,
    pub(crate) per_second: f64,
    /// From when a request was due to its reply, nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// From when a request was due until the client began to send it: its own part of the latency.
    pub(crate) late: Histogram<u64>,
}

impl Keys {
    /// The name of a key; `number` is below [`Self::count`]. The names are those that
    /// redis-benchmark uses, unless connections have their own.
    pub(crate) fn name(&self, number: u64, connections: usize) -> Vec<u8> {
        if self.are_apart {
            let connections = connections as u64;
            format!("key:{{{}}}{:012}", number % connections, number / connections).into_bytes()
        } else {
            format!("key:{number:012}").into_bytes()
        }
    }
}

impl Load {
    /// Drives a server that has all keys.
    pub(crate) fn run(&self, address: SocketAddr) -> Outcome<Measured> {
        // A timer of the usual precision would be as late as a reply.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        Run::begin(self, address)?.drive()
    }

    /// The whole reply to each request.
    fn reply(&self) -> Vec<u8> {
        match self.command {
            Command::Set => b"+OK\r\n".to_vec(),
            Command::Get => {
                let head = format!("${}\r\n", self.value_bytes).into_bytes();
                [&head[..], &vec![b'v'; self.value_bytes], b"\r\n"].concat()
            }
        }
    }
}

/// A load under way.
struct Run<'a> {
    load: &'a Load,
    connections: Vec<Connection>,
    epoll: OwnedFd,
    rng: StdRng,
    began: Instant,
    /// When the next request is due, from the beginning.
    due: Duration,
    in_flight: usize,
    measured: Measured,
}

impl<'a> Run<'a> {
    fn begin(load: &'a Load, address: SocketAddr) -> Outcome<Run<'a>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for index in 0..load.connections {
            let connection = Connection::open(load, index, address)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN)?;
            connections.push(connection);
        }
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Ok(Run {
            load,
            connections,
            epoll,
            rng: StdRng::seed_from_u64(load.seed),
            began: Instant::now(),
            due: Duration::ZERO,
            in_flight: 0,
            measured: Measured {
                replies: 0,
                per_second: 0.0,
                latencies: histogram()?,
                late: histogram()?,
            },
        })
    }

    fn drive(mut self) -> Outcome<Measured> {
        if let Pace::Replies = self.load.pace {
            (0..self.connections.len()).try_for_each(|index| self.send(index, Duration::ZERO))?;
        }
        let mut events = Vec::with_capacity(self.connections.len());
        let mut bytes = vec![0; READ_BYTES];
        let end = self.load.length;
        loop {
            let now = self.began.elapsed();
            if let Pace::Rate(rate) = self.load.pace {
                self.send_due(rate, now.min(end))?;
            }
            if now >= end && self.in_flight == 0 {
                break;
            }
            if now >= end + LAST_REPLY_MAX {
                return Err(format!("{} requests are not answered", self.in_flight).into());
            }
            let wait = match (self.load.wait, self.load.pace) {
                (Wait::Spin, _) => Duration::ZERO,
                (Wait::Sleep, Pace::Rate(_)) if now < end => self.due.saturating_sub(now),
                (Wait::Sleep, _) => LAST_REPLY_MAX,
            };
            let wait = Timespec::try_from(wait)?;
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait))?;
            for event in events.drain(..) {
                self.receive(event.data.u64() as usize, &mut bytes)?;
            }
        }
        let counted = end - end / WARM_UP;
        self.measured.per_second = self.measured.latencies.len() as f64 / counted.as_secs_f64();
        Ok(self.measured)
    }

    /// Sends what is due by now.
    fn send_due(&mut self, rate: f64, now: Duration) -> Outcome<()> {
        while self.due < now {
            let index = self.rng.random_range(0..self.connections.len());
            let due = self.due;
            self.send(index, due)?;
            let gap = -(1.0 - self.rng.random::<f64>()).ln() / rate;
            self.due = due + Duration::from_secs_f64(gap);
        }
        Ok(())
    }

    fn send(&mut self, index: usize, due: Duration) -> Outcome<()> {
        if due >= self.load.length / WARM_UP {
            let late = self.began.elapsed().saturating_sub(due);
            self.measured.late.saturating_record(nanoseconds(late));
        }
        let connection = &mut self.connections[index];
        connection.send(self.rng.random_range(0..connection.keys), due)?;
        self.in_flight += 1;
        Ok(())
    }

    /// Reads replies, and sends the next request if it waits for them.
    fn receive(&mut self, index: usize, bytes: &mut [u8]) -> Outcome<()> {
        let replies = self.connections[index].receive(bytes)?;
        let now = self.began.elapsed();
        for _ in 0..replies {
            let due = self.connections[index].under_way.pop_front();
            let due = due.ok_or("a reply to no request")?;
            self.in_flight -= 1;
            self.measured.replies += 1;
            if due >= self.load.length / WARM_UP {
                self.measured.latencies.saturating_record(nanoseconds(now - due));
            }
            if let Pace::Replies = self.load.pace
                && now < self.load.length
            {
                self.send(index, now)?;
            }
        }
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// One connection, and what it waits for.
struct Connection {
    stream: TcpStream,
    /// A request; only the number of its key changes.
    request: Vec<u8>,
    number: Range<usize>,
    /// How many keys it has.
    keys: u64,
    /// When the requests without a reply were due.
    under_way: VecDeque<Duration>,
    replies: Replies,
}

impl Connection {
    fn open(load: &Load, index: usize, address: SocketAddr) -> Outcome<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let key = load.keys.name(index as u64, load.connections);
        let mut request = Vec::new();
        match load.command {
            Command::Get => encode_command(&mut request, &[b"GET", &key[..]]),
            Command::Set => {
                encode_command(&mut request, &[b"SET", &key[..], &vec![b'v'; load.value_bytes]]);
            }
        }
        let at = request.windows(key.len()).position(|window| window == key);
        let end = at.ok_or("the request has no key")? + key.len();
        let parts = if load.keys.are_apart { load.connections as u64 } else { 1 };
        Ok(Connection {
            stream,
            request,
            number: end - DIGITS..end,
            keys: (load.keys.count / parts).max(1),
            under_way: VecDeque::new(),
            replies: Replies { expected: load.reply(), received: 0 },
        })
    }

    /// # Errors
    /// Also if the system takes no more bytes: the server is megabytes behind.
    fn send(&mut self, mut number: u64, due: Duration) -> Outcome<()> {
        for digit in self.request[self.number.clone()].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        if self.stream.write(&self.request)? < self.request.len() {
            return Err("the server does not read".into());
        }
        self.under_way.push_back(due);
        Ok(())
    }

    /// Reads what there is; returns how many replies are complete with it.
    fn receive(&mut self, bytes: &mut [u8]) -> Outcome<usize> {
        match self.stream.read(bytes) {
            Ok(0) => Err("the server has closed a connection".into()),
            Ok(length) => self.replies.count(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(io::Error::into(error)),
        }
    }
}

/// Counts replies in a stream in which all are the same.
struct Replies {
    expected: Vec<u8>,
    /// Bytes of the reply that is not complete.
    received: usize,
}

impl Replies {
    fn count(&mut self, mut bytes: &[u8]) -> Outcome<usize> {
        let mut count = 0;
        while !bytes.is_empty() {
            let missing = &self.expected[self.received..];
            let (now, later) = bytes.split_at(missing.len().min(bytes.len()));
            if !missing.starts_with(now) {
                return Err(format!("unexpected reply: {}", String::from_utf8_lossy(now)).into());
            }
            self.received += now.len();
            if self.received == self.expected.len() {
                self.received = 0;
                count += 1;
            }
            bytes = later;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let stream = b"$3\r\nvvv\r\n".repeat(5);
        for length in 1..=stream.len() {
            let mut replies = Replies { expected: b"$3\r\nvvv\r\n".to_vec(), received: 0 };
            let counts = stream.chunks(length).map(|bytes| replies.count(bytes).expect("counted"));
            assert_eq!(counts.sum::<usize>(), 5);
        }
        let mut replies = Replies { expected: b"+OK\r\n".to_vec(), received: 0 };
        assert!(replies.count(b"+OK\r\n-ERR no\r\n").is_err());
    }

    #[test]
    fn keys_of_a_connection_share_a_hash_tag() {
        let keys = Keys { count: 100, are_apart: true };
        assert_eq!(keys.name(53, 50), b"key:{3}000000000001");
        let keys = Keys { are_apart: false, ..keys };
        assert_eq!(keys.name(53, 50), b"key:000000000053");
    }
}
