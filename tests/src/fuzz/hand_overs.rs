//! Moves the slots of the keys that are drawn between the shards.

use std::io;

use rand::RngExt;
use rand::rngs::StdRng;

use super::words::all_keys;
use super::{Step, Words};
use crate::support::Client;

/// Draws hand-overs.
#[derive(Clone, Debug)]
pub(super) struct HandOvers {
    slots: Vec<String>,
    shards: usize,
}

impl HandOvers {
    /// For a server with so many shards; the server tells the keys' slots.
    pub(super) fn new(client: &mut Client, shards: usize) -> io::Result<HandOvers> {
        let mut slots = Vec::new();
        for key in all_keys() {
            let slot = client.call(&[&b"CLUSTER"[..], b"KEYSLOT", &key])?;
            slots.extend(slot.text());
        }
        Ok(HandOvers { slots, shards })
    }

    pub(super) fn draw(&self, random: &mut StdRng) -> Words {
        let slot = &self.slots[random.random_range(0..self.slots.len())];
        let shard = random.random_range(0..self.shards).to_string();
        let words = ["DEBUG", "HAND-OVER", slot, &shard];
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    pub(super) fn step(&self, random: &mut StdRng) -> Step {
        Step { name: "debug".to_owned(), words: self.draw(random) }
    }
}

/// Whether a step is a hand-over that was drawn here.
pub(super) fn is_hand_over(step: &Step) -> bool {
    step.words.len() == 4 && step.words[1] == b"HAND-OVER"
}
