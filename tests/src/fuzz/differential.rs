//! The same commands to Ballast and to `redis-server`, in lockstep.

use std::io;
use std::time::Duration;

use rand::RngExt;

use super::check::{check, delete_all};
use super::hand_overs::{HandOvers, is_hand_over};
use super::rules::{Rule, agree, rule};
use super::shrink::{script, shrink};
use super::{Company, Fault, Generator, Step, Words, commands};
use crate::script::render;
use crate::support::{Client, Kind, Process, Reply, Target};

/// Commands that begin with nothing and end with a comparison of everything.
const ROUND: usize = 400;
/// Commands in one write in every other round.
const PIPELINED: usize = 8;
/// Nothing that is sent waits for longer than a fraction of this.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(2);
/// The part of the steps that are hand-overs.
const HAND_OVERS: f64 = 0.1;

/// Two servers that must answer alike.
pub struct Differential {
    redis: Process,
    ballast: Process,
    generator: Generator,
    hand_overs: HandOvers,
    compared: u64,
}

/// Where two replies differ.
struct Difference {
    /// How many steps led to it.
    steps: usize,
    /// The command, or what was found afterwards.
    name: String,
    what: String,
}

impl Differential {
    /// Starts both servers.
    ///
    /// # Errors
    /// When one does not start or answer.
    pub fn start(seed: u64, shards: usize) -> io::Result<Differential> {
        let args = ["--enable-debug-command", "yes"];
        // It looks for waits that are over so often only.
        let redis = Process::start(&Kind::Redis, &[&args[..], &["--hz", "500"]].concat())?;
        let ballast = Process::start(&Kind::Ballast { shards }, &args)?;
        let mut client = ballast.connect()?;
        let theirs = commands(&mut redis.connect()?)?;
        let mut both = commands(&mut client)?;
        both.retain(|own| theirs.iter().any(|their| their.name == own.name));
        Ok(Differential {
            generator: Generator::new(seed, both, Company::Lockstep),
            hand_overs: HandOvers::new(&mut client, shards)?,
            redis,
            ballast,
            compared: 0,
        })
    }

    /// How many replies were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// Compares some hundred commands more; a difference is returned with a short script.
    ///
    /// # Errors
    /// When a server does not answer.
    pub fn round(&mut self) -> io::Result<Option<Fault>> {
        let pipelined = if self.generator.random().random_bool(0.5) { PIPELINED } else { 1 };
        let mut steps = Vec::new();
        while steps.len() < ROUND {
            if self.generator.random().random_bool(HAND_OVERS) {
                steps.push(self.hand_overs.step(self.generator.random()));
            }
            let (name, words) = self.generator.command();
            if rule(&name, &words).is_some() {
                steps.push(Step { name, words });
            }
        }
        let Some(difference) = self.run(&steps, pipelined)? else { return Ok(None) };
        let (name, mut what) = (difference.name, difference.what);
        eprintln!("{name} differs, looking for the fewest commands that lead to it:\n{what}");
        steps.truncate(difference.steps);
        let shrunk = shrink(&steps, |fewer| {
            let found = self.run(fewer, pipelined).ok().flatten();
            let same = found.filter(|found| found.name == name);
            same.map(|found| what = found.what).is_some()
        });
        let words: Vec<Words> = shrunk.into_iter().map(|step| step.words).collect();
        Ok(Some(Fault {
            what: format!("{name} ({pipelined} in a write):\n{what}"),
            script: script(&words, &[]),
        }))
    }

    /// Runs `steps` from the beginning; answers with the first difference.
    fn run(&mut self, steps: &[Step], pipelined: usize) -> io::Result<Option<Difference>> {
        let mut pair = [self.redis.connect()?, self.ballast.connect()?];
        let mut moving = self.ballast.connect()?;
        for client in &mut pair {
            client.wait_at_most(REPLY_WAIT_MAX)?;
            client.call(&["FLUSHALL"])?;
        }
        let mut comparison = Comparison::default();
        let mut at = 0;
        while at < steps.len() {
            let end = (at + pipelined).min(steps.len());
            let (moves, sent): (Vec<&Step>, Vec<&Step>) =
                steps[at..end].iter().partition(|step| is_hand_over(step));
            for step in moves {
                moving.call(&step.words)?;
            }
            let commands: Vec<Words> = sent.iter().map(|step| step.words.clone()).collect();
            let replies = pair.each_mut().map(|client| replies(client, &commands));
            for (number, step) in sent.iter().enumerate() {
                let [redis, ballast] = [&replies[0][number], &replies[1][number]];
                self.compared += 1;
                if let Some(what) = comparison.differs(step, redis, ballast) {
                    return Ok(Some(Difference { steps: end, name: step.name.clone(), what }));
                }
            }
            at = end;
        }
        self.compare_all_kept(steps.len())
    }

    /// Everything that is kept, and what must hold.
    fn compare_all_kept(&mut self, steps: usize) -> io::Result<Option<Difference>> {
        let mut pair = [self.redis.connect()?, self.ballast.connect()?];
        let digests = pair.each_mut().map(|client| client.call(&["DEBUG", "DIGEST"]));
        let [redis, ballast] = digests;
        let (redis, ballast) = (redis?, ballast?);
        if redis != ballast {
            let name = "DEBUG DIGEST".to_owned();
            let what = shown(&redis, &ballast);
            return Ok(Some(Difference { steps, name, what }));
        }
        let fault = match check(&mut pair[1])? {
            None => delete_all(&mut pair[1])?,
            fault => fault,
        };
        Ok(fault.map(|what| Difference { steps, name: "what must hold".to_owned(), what }))
    }
}

/// The replies to all commands, of which those that do not come are told as errors.
fn replies(client: &mut Client, commands: &[Words]) -> Vec<Reply> {
    let missing = |error: io::Error| Reply::Error(format!("(no reply: {error})").into_bytes());
    let mut bytes = Vec::new();
    for words in commands {
        crate::support::encode_command(&mut bytes, words);
    }
    if let Err(error) = client.send_raw(&bytes) {
        return vec![missing(error); commands.len()];
    }
    let mut replies = Vec::with_capacity(commands.len());
    while replies.len() < commands.len() {
        match client.read_reply() {
            Ok(reply) => replies.push(reply),
            // Nor will the rest come.
            Err(error) => {
                replies.resize(commands.len(), missing(error));
            }
        }
    }
    replies
}

fn shown(redis: &Reply, ballast: &Reply) -> String {
    let [redis, ballast] = [redis, ballast].map(|reply| render(reply, false).join("\n    "));
    format!("  redis:\n    {redis}\n  ballast:\n    {ballast}")
}

/// Compares the replies of a connection, and knows what it has queued.
#[derive(Default)]
struct Comparison {
    queued: Vec<(String, Rule)>,
}

impl Comparison {
    fn differs(&mut self, step: &Step, redis: &Reply, ballast: &Reply) -> Option<String> {
        let rule = rule(&step.name, &step.words).unwrap_or(Rule::Exact);
        let queued = Reply::Simple(b"QUEUED".to_vec());
        let agreed = match (step.name.as_str(), redis, ballast) {
            ("exec", Reply::Array(theirs), Reply::Array(ours))
                if theirs.len() == ours.len() && theirs.len() == self.queued.len() =>
            {
                let pairs = theirs.iter().zip(ours).zip(&self.queued);
                let mut pairs = pairs.map(|((a, b), (name, rule))| agree(name, *rule, a, b));
                pairs.all(|agreed| agreed)
            }
            _ if *redis == queued && *ballast == queued => {
                self.queued.push((step.name.clone(), rule));
                true
            }
            _ => agree(&step.name, rule, redis, ballast),
        };
        if ["exec", "discard", "reset"].contains(&step.name.as_str()) && *redis != queued {
            self.queued.clear();
        }
        (!agreed).then(|| shown(redis, ballast))
    }
}
