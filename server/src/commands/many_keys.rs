//! The keys of commands with many: what their look-ups will read is loaded for several at once,
//! as it is for several commands, and their slots and hashes are computed once. For a single
//! key nothing is done: what the dispatcher knows of it stands.

use ballast_protocol::Args;
use smallvec::SmallVec;

use super::context::{Data, Routed};
use crate::engine::prefetch::AHEAD_MAX;

/// Goes over the arguments of a command that are keys.
pub(super) struct ManyKeys<'a> {
    args: Args<'a>,
    /// Where the next key is.
    next: usize,
    /// From one key to the next.
    step: usize,
    ahead: SmallVec<[Routed; AHEAD_MAX]>,
    /// Those of `ahead` that were given out.
    given: usize,
}

impl<'a> ManyKeys<'a> {
    /// Each `step`th argument from the first on.
    pub(super) fn new(args: Args<'a>, step: usize) -> ManyKeys<'a> {
        ManyKeys { args, next: 1, step, ahead: SmallVec::new(), given: 0 }
    }

    /// The position of the next key, of which `cx` knows the slot and the hash then.
    pub(super) fn next(&mut self, cx: &mut Data<'_>) -> Option<usize> {
        let at = self.next;
        if at >= self.args.len() {
            return None;
        }
        self.next += self.step;
        let is_single = at == 1 && self.next >= self.args.len();
        if is_single {
            return Some(at);
        }
        if self.given == self.ahead.len() {
            self.look_ahead(cx, at);
        }
        cx.know(self.ahead[self.given]);
        self.given += 1;
        Some(at)
    }

    /// Computes and has loaded what is known of the keys from position `first` on.
    fn look_ahead(&mut self, cx: &Data<'_>, first: usize) {
        self.given = 0;
        self.ahead.clear();
        for at in (first..self.args.len()).step_by(self.step).take(AHEAD_MAX) {
            let routed = cx.routed(self.args.at(at));
            cx.engine.load_box(routed.slot);
            self.ahead.push(routed);
        }
        let keys = self.ahead.iter().map(|of| (of.slot, of.hash));
        cx.engine.load_keys(cx.caller.db, keys);
    }
}
