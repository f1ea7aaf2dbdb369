//! The keys of commands with many: what their look-ups will read is loaded for several at once,
//! as it is for several commands, and their slots and hashes are computed once. For a single
//! key nothing is done: what the dispatcher knows of it stands.

use ballast_protocol::{Args, CommandError};
use smallvec::SmallVec;

use super::context::Data;
use crate::engine::prefetch::AHEAD_MAX;
use crate::engine::write::Located;

/// One of the keys.
#[derive(Clone, Copy)]
pub(super) struct NextKey<'a> {
    /// Its position among the arguments.
    pub(super) at: usize,
    /// Where it is.
    pub(super) located: Located<'a>,
}

/// Goes over the arguments of a command that are keys.
pub(super) struct ManyKeys<'a> {
    /// How many arguments there are.
    len: usize,
    /// Where the next key is.
    next: usize,
    /// From one key to the next.
    step: usize,
    /// The next keys, the nearest one last.
    ahead: SmallVec<[NextKey<'a>; AHEAD_MAX]>,
}

impl<'a> ManyKeys<'a> {
    /// Each `step`th argument from the first on.
    pub(super) fn new(args: Args<'_>, step: usize) -> ManyKeys<'a> {
        ManyKeys { len: args.len(), next: 1, step, ahead: SmallVec::new() }
    }

    /// The next key.
    ///
    /// # Errors
    /// As [`Data::key`].
    pub(super) fn next(&mut self, cx: &Data<'a>) -> Result<Option<NextKey<'a>>, CommandError> {
        if self.ahead.is_empty() {
            if self.next >= self.len {
                return Ok(None);
            }
            if self.next == 1 && 1 + self.step >= self.len {
                self.next = self.len;
                return Ok(Some(NextKey { at: 1, located: cx.key(1)? }));
            }
            self.look_ahead(cx)?;
        }
        Ok(self.ahead.pop())
    }

    /// Computes and has loaded what is known of the next keys.
    fn look_ahead(&mut self, cx: &Data<'a>) -> Result<(), CommandError> {
        for at in (self.next..self.len).step_by(self.step).take(AHEAD_MAX) {
            let located = cx.key(at)?;
            cx.engine.load_box(located.slot);
            self.ahead.push(NextKey { at, located });
            self.next = at + self.step;
        }
        let keys = self.ahead.iter().map(|key| (key.located.slot, key.located.key.hash));
        cx.engine.load_keys(cx.caller.db, keys);
        self.ahead.reverse();
        Ok(())
    }
}
