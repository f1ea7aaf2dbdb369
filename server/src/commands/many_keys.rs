//! The keys of commands with many: what their look-ups will read is loaded for several at once,
//! as it is for several commands, and their slots and hashes are computed once.

use ballast_protocol::Args;
use ballast_protocol::slot::key_slot;
use ballast_storage::Key;

use super::context::{Data, Routed};
use crate::shard::prefetch::AHEAD_MAX;

/// Goes over the arguments of a command that are keys.
pub(super) struct ManyKeys<'a> {
    args: Args<'a>,
    /// Where the next key is.
    next: usize,
    /// From one key to the next.
    step: usize,
    ahead: [Routed; AHEAD_MAX],
    /// Those of `ahead` that were given out, and those there are.
    given: usize,
    known: usize,
}

impl<'a> ManyKeys<'a> {
    /// Each `step`th argument from the first on.
    pub(super) fn new(args: Args<'a>, step: usize) -> ManyKeys<'a> {
        let ahead = [Routed::NOWHERE; AHEAD_MAX];
        ManyKeys { args, next: 1, step, ahead, given: 0, known: 0 }
    }

    /// The position of the next key, of which `cx` knows the slot and the hash then.
    pub(super) fn next(&mut self, cx: &mut Data<'_>) -> Option<usize> {
        let at = self.next;
        if at >= self.args.len() {
            return None;
        }
        if self.given == self.known {
            self.look_ahead(cx);
        }
        cx.know(self.ahead[self.given]);
        self.given += 1;
        self.next += self.step;
        Some(at)
    }

    fn look_ahead(&mut self, cx: &Data<'_>) {
        self.given = 0;
        self.known = 0;
        let keys = (self.next..self.args.len()).step_by(self.step);
        for (at, ahead) in keys.zip(&mut self.ahead) {
            let key = self.args.at(at);
            let slot = key_slot(key);
            cx.shard.load_box(slot);
            *ahead = Routed::of(key, slot, Key::new(key).hash);
            self.known += 1;
        }
        let known = self.ahead[..self.known].iter().map(|of| (of.slot, of.hash));
        cx.shard.load_keys(cx.caller.db, known);
    }
}
