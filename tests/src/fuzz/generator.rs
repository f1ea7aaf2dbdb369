//! Makes commands from their syntax, most of them right, some with a mistake.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::dangers::{Company, is_harmless};
use super::syntax::{Argument, Command, Kind};
use super::{Words, words};

/// The part of the values that are of another kind than asked for.
const ODD_VALUES: f64 = 0.03;
/// The part of the commands that lack a word, have one twice, or have one too many.
const MISTAKES: f64 = 0.04;
/// What empties databases is rare, or nothing would grow.
const EMPTYING: &[&str] = &["flushall", "flushdb", "swapdb", "debug", "reset"];
const EMPTYING_KEPT: f64 = 0.1;
/// Commands on keys are drawn so many times as often as others.
const KEYS_PART: f64 = 0.9;

/// Draws commands. The same seed draws the same.
pub struct Generator {
    random: StdRng,
    on_keys: Vec<Command>,
    others: Vec<Command>,
    company: Company,
    /// As many keys follow as were announced.
    announced: Option<usize>,
}

impl Generator {
    /// Draws from `commands` what is harmless in this company.
    pub fn new(seed: u64, commands: Vec<Command>, company: Company) -> Generator {
        let (on_keys, others) = commands.into_iter().partition(|command| {
            let groups = ["generic", "string", "bitmap", "list", "hash", "set", "sorted-set"];
            groups.contains(&command.group.as_str()) || command.group == "transactions"
        });
        let random = StdRng::seed_from_u64(seed);
        Generator { random, on_keys, others, company, announced: None }
    }

    /// The generator's randomness, for what else is drawn.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// The next command: its name in the table, and its words.
    pub fn command(&mut self) -> (String, Words) {
        loop {
            let on_keys = self.others.is_empty() || self.random.random_bool(KEYS_PART);
            let from = if on_keys { &self.on_keys } else { &self.others };
            let command = from.choose(&mut self.random).expect("there are commands").clone();
            let rare = EMPTYING.contains(&command.name.as_str());
            if rare && !self.random.random_bool(EMPTYING_KEPT) {
                continue;
            }
            let words = match command.name == "zadd" && self.random.random_bool(0.2) {
                true => words::equal_scores(&mut self.random),
                false => self.instance(&command),
            };
            if is_harmless(&command.name, &words, self.company) {
                return (command.name, words);
            }
        }
    }

    fn instance(&mut self, command: &Command) -> Words {
        let mut words: Words =
            command.name.split('|').map(|word| word.to_uppercase().into_bytes()).collect();
        self.announced = None;
        for argument in &command.arguments {
            self.add(command, argument, &mut words);
        }
        if self.random.random_bool(MISTAKES) {
            self.make_mistake(&mut words);
        }
        words
    }

    /// As people and clients do: leaves a word out, says one twice, or another in addition.
    fn make_mistake(&mut self, words: &mut Words) {
        let at = self.random.random_range(0..words.len());
        match self.random.random_range(0..3) {
            0 if at > 0 => drop(words.remove(at)),
            1 => words.insert(at + 1, words[at].clone()),
            _ => words.push(words::odd(&mut self.random)),
        }
    }

    fn add(&mut self, command: &Command, argument: &Argument, words: &mut Words) {
        if argument.is_optional && !self.random.random_bool(0.3) {
            return;
        }
        let times = match (argument.is_multiple, &argument.kind) {
            (false, _) => 1,
            (true, Kind::Value(kind)) if kind == "key" && self.announced.is_some() => {
                self.announced.take().unwrap_or(1)
            }
            (true, _) => self.random.random_range(1..4),
        };
        for time in 0..times {
            if time == 0 || argument.repeats_token {
                words.extend(argument.token.clone().map(|token| self.cased(&token)));
            }
            match &argument.kind {
                Kind::PureToken => {}
                Kind::Block(parts) => {
                    parts.iter().for_each(|part| self.add(command, part, words));
                }
                Kind::OneOf(parts) => {
                    let part = parts.choose(&mut self.random).expect("there are alternatives");
                    self.add(command, part, words);
                }
                Kind::Value(kind) => words.push(self.value(command, &argument.name, kind)),
            }
        }
    }

    /// A token, mostly as documented, sometimes in lower case.
    fn cased(&mut self, token: &str) -> Vec<u8> {
        match self.random.random_bool(0.1) {
            true => token.to_lowercase().into_bytes(),
            false => token.as_bytes().to_vec(),
        }
    }

    fn value(&mut self, command: &Command, name: &str, kind: &str) -> Vec<u8> {
        if name == "numkeys" {
            let keys = self.random.random_range(1..4);
            self.announced = Some(keys);
            if !self.random.random_bool(ODD_VALUES) {
                return keys.to_string().into_bytes();
            }
        }
        if self.random.random_bool(ODD_VALUES) {
            return words::odd(&mut self.random);
        }
        if name == "command-name" {
            let all = [&self.on_keys, &self.others].into_iter().flatten();
            let all: Vec<&Command> = all.collect();
            let other = all.choose(&mut self.random).expect("there are commands");
            return other.name.clone().into_bytes();
        }
        words::value(&mut self.random, command, name, kind)
    }
}
