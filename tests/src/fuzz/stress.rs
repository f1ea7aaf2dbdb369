//! All commands at one server, with hand-overs, eviction, expiry and killed connections; then
//! what must hold is checked.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::check::{check, check_append_only, delete_all, reset};
use super::hand_overs::HandOvers;
use super::shrink::{script, shrink};
use super::{Command, Company, Fault, Generator, Words, commands};
use crate::support::{Client, Kind, Process, Reply, Target, encode_command};

/// Writes of a connection in a round.
const WRITES: usize = 150;
/// Commands in one write at most.
const PIPELINED: usize = 16;
/// Connections of a crowd.
const CROWD: usize = 4;
/// Hand-overs in one write of who disturbs a crowd.
const HAND_OVERS: usize = 8;
/// So often in a row no reply comes in time only if none will.
const SILENCES_MAX: usize = 6;

/// One server, and what goes wrong there.
pub struct Stress {
    ballast: Process,
    shards: usize,
    commands: Vec<Command>,
    hand_overs: HandOvers,
    seed: u64,
    rounds: u64,
    sent: u64,
}

/// What one connection sends in one go.
type Burst = Vec<Words>;

impl Stress {
    /// Starts the server.
    ///
    /// # Errors
    /// When it does not start or answer.
    pub fn start(seed: u64, shards: usize) -> io::Result<Stress> {
        let ballast = server(shards)?;
        let mut client = ballast.connect()?;
        Ok(Stress {
            commands: commands(&mut client)?,
            hand_overs: HandOvers::new(&mut client, shards)?,
            ballast,
            shards,
            seed,
            rounds: 0,
            sent: 0,
        })
    }

    /// How many commands were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// A round of one connection, or of several that are disturbed.
    ///
    /// # Errors
    /// When the server cannot be started again.
    pub fn round(&mut self, company: Company) -> io::Result<Option<Fault>> {
        self.rounds += 1;
        let seed = self.seed ^ self.rounds << 16;
        let connections = if company == Company::Crowd { CROWD } else { 1 };
        let bursts: Vec<Vec<Burst>> =
            (0..connections).map(|one| self.bursts(seed + one as u64, company)).collect();
        self.sent += bursts.iter().flatten().map(|burst| burst.len() as u64).sum::<u64>();
        let found = match company {
            Company::Crowd => crowd(&mut self.ballast, &bursts, &self.hand_overs, seed),
            _ => alone(&mut self.ballast, &bursts[0]),
        };
        let Some(what) = found else { return Ok(None) };
        eprintln!("looking for the fewest commands that lead to this: {what}");
        self.ballast = server(self.shards)?;
        Ok(Some(self.fault(what, &bursts)))
    }

    fn bursts(&self, seed: u64, company: Company) -> Vec<Burst> {
        let mut generator = Generator::new(seed, self.commands.clone(), company);
        let mut bursts = Vec::with_capacity(WRITES);
        for _ in 0..WRITES {
            let count = generator.random().random_range(1..PIPELINED);
            let mut burst: Burst = (0..count).map(|_| generator.command().1).collect();
            let random = generator.random();
            if random.random_bool(0.3) {
                burst.insert(0, vec![b"MULTI".to_vec()]);
                burst.push(vec![b"EXEC".to_vec()]);
            }
            if company == Company::Alone {
                burst.insert(0, self.hand_overs.draw(random));
            }
            bursts.push(burst);
        }
        bursts
    }

    /// Looks for the same with one connection and ever fewer commands, on servers of their own.
    fn fault(&self, what: String, bursts: &[Vec<Burst>]) -> Fault {
        let mut longest = 0;
        let mut in_turn = Vec::new();
        for connection in bursts {
            longest = longest.max(connection.len());
        }
        for number in 0..longest {
            in_turn.extend(bursts.iter().filter_map(|of| of.get(number)).cloned());
        }
        let fails = |bursts: &[Burst]| {
            server(self.shards).is_ok_and(|mut server| alone(&mut server, bursts).is_some())
        };
        if !fails(&in_turn) {
            let script = "(it does not come again with one connection)".to_owned();
            return Fault { what, script };
        }
        let fewer = shrink(&in_turn, fails);
        let commands: Vec<Burst> = fewer.concat().into_iter().map(|words| vec![words]).collect();
        let fewer = if fails(&commands) { shrink(&commands, fails) } else { fewer };
        Fault { what, script: script(&fewer.concat(), &[]) }
    }
}

fn server(shards: usize) -> io::Result<Process> {
    let arguments = ["--enable-debug-command", "yes", "--appendonly", "yes", "--appendfsync", "no"];
    Process::start(&Kind::Ballast { shards }, &arguments)
}

/// All bursts from one connection; answers with what does not hold afterwards.
fn alone(server: &mut Process, bursts: &[Burst]) -> Option<String> {
    let fresh = server.connect().and_then(|mut client| client.call(&["FLUSHALL"]));
    let worked = fresh.and_then(|_| work(server, bursts));
    verdict(server, worked)
}

/// The bursts of several connections at once, disturbed by another.
fn crowd(
    server: &mut Process,
    bursts: &[Vec<Burst>],
    hand_overs: &HandOvers,
    seed: u64,
) -> Option<String> {
    let fresh = server.connect().and_then(|mut client| client.call(&["FLUSHALL"]));
    let working = AtomicUsize::new(bursts.len());
    let worked = {
        let server: &Process = server;
        thread::scope(|scope| {
            let workers: Vec<_> = bursts
                .iter()
                .map(|bursts| {
                    let working = &working;
                    scope.spawn(move || {
                        let worked = work(server, bursts);
                        working.fetch_sub(1, Ordering::Relaxed);
                        worked
                    })
                })
                .collect();
            disturb(server, hand_overs, seed, &working);
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker ends"))
        })
    };
    verdict(server, fresh.and(worked))
}

fn verdict(server: &mut Process, worked: io::Result<()>) -> Option<String> {
    let held = worked.and_then(|()| {
        let mut client = server.connect()?;
        reset(&mut client)?;
        match check(&mut client)? {
            None => match check_append_only(&mut client)? {
                None => delete_all(&mut client),
                fault => Ok(fault),
            },
            fault => Ok(fault),
        }
    });
    let log = server.log();
    match held {
        _ if !server.is_running() => Some(format!("the server has ended:\n{}", last_lines(&log))),
        _ if log.contains("panicked") => Some(format!("a panic:\n{}", last_lines(&log))),
        Err(error) => Some(format!("the server does not answer: {error}\n{}", last_lines(&log))),
        Ok(fault) => fault,
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Sends all bursts, each after the replies to the last; a closed connection is opened again.
fn work(server: &Process, bursts: &[Burst]) -> io::Result<()> {
    let mut client = server.connect()?;
    for (number, burst) in bursts.iter().enumerate() {
        match send(&mut client, burst, &format!("burst {number} is over")) {
            Ok(()) => {}
            // Commands close connections, also those of others.
            Err(error) if is_closed(&error) => client = server.connect()?,
            Err(error) => {
                let commands = script(burst, &[]);
                return Err(io::Error::new(error.kind(), format!("{error} after\n{commands}")));
            }
        }
    }
    Ok(())
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

/// Sends a burst and reads until the reply to what marks its end.
fn send(client: &mut Client, burst: &Burst, end: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    burst.iter().for_each(|words| encode_command(&mut bytes, words));
    for words in [&["DISCARD"][..], &["CLIENT", "REPLY", "ON"], &["ECHO", end]] {
        encode_command(&mut bytes, words);
    }
    client.send_raw(&bytes)?;
    let end = Reply::Bulk(end.into());
    let mut silences = 0;
    loop {
        match client.read_reply() {
            Ok(reply) if reply == end => return Ok(()),
            Ok(_) => silences = 0,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                silences += 1;
                if silences == SILENCES_MAX {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Hands slots over, unblocks and kills until nobody works any more.
fn disturb(server: &Process, hand_overs: &HandOvers, seed: u64, working: &AtomicUsize) {
    let mut random = StdRng::seed_from_u64(!seed);
    while working.load(Ordering::Relaxed) > 0 {
        // It may be killed itself.
        let _ = server.connect().and_then(|mut client| {
            while working.load(Ordering::Relaxed) > 0 {
                let moves: Vec<Words> =
                    (0..HAND_OVERS).map(|_| hand_overs.draw(&mut random)).collect();
                client.pipeline(&moves)?;
                if random.random_bool(0.5) {
                    let words = interrupt(&mut client, &mut random)?;
                    client.call(&words)?;
                }
            }
            Ok(())
        });
    }
}

/// What ends the waiting or the connection of one of the clients.
fn interrupt(client: &mut Client, random: &mut StdRng) -> io::Result<Vec<String>> {
    let list = client.call(&["CLIENT", "LIST"])?.text().unwrap_or_default();
    let id =
        |line: &str| line.split(' ').find_map(|part| part.strip_prefix("id=")).map(str::to_owned);
    let ids: Vec<String> = list.lines().filter_map(id).collect();
    let id = ids.choose(random).cloned().unwrap_or_default();
    let words = match random.random_range(0..3) {
        0 => vec!["CLIENT", "KILL", "ID", &id],
        1 => vec!["CLIENT", "UNBLOCK", &id, "ERROR"],
        _ => vec!["CLIENT", "UNBLOCK", &id],
    };
    Ok(words.into_iter().map(str::to_owned).collect())
}
