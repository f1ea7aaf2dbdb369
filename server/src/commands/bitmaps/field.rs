//! `BITFIELD`: integers of 1 to 64 bits at any bit of a string.

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::STRING_MAX;

use super::{byte_of, parse_offset};
use crate::commands::context::Data;
use crate::commands::strings::text_of;
use crate::commands::table::CommandResult;
use crate::engine::write::{Located, Write};

pub(super) fn bitfield(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let steps = parse_steps(cx, args)?;
    let Some(end) = steps.iter().filter(|step| step.writes()).map(Step::end_byte).max() else {
        return read_steps(cx, cx.key(1)?, &steps, reply);
    };
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let mut changed = grow(&mut write, end)?;
    reply.array(steps.len());
    for step in &steps {
        changed |= perform(&mut write, step, reply)?;
    }
    write.changed_if(changed, "setbit");
    Ok(())
}

pub(super) fn bitfield_ro(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let steps = parse_steps(cx, args)?;
    if steps.iter().any(Step::writes) {
        return Err(CommandError::other("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_steps(cx, cx.key(1)?, &steps, reply)
}

fn read_steps(
    cx: &mut Data<'_>,
    key: Located<'_>,
    steps: &[Step],
    reply: &mut Reply,
) -> CommandResult {
    let mut digits = itoa::Buffer::new();
    let text = text_of(cx.read(key), &mut digits)?;
    reply.array(steps.len());
    for step in steps {
        reply.integer(step.kind.value(Window::load(text, step).field(step)) as i64);
    }
    Ok(())
}

/// Makes the string at least `len` bytes long; whether it was not.
fn grow(write: &mut Write<'_, '_>, len: usize) -> Result<bool, CommandError> {
    let mut digits = itoa::Buffer::new();
    let last = text_of(write.value(), &mut digits)?.get(len - 1).copied();
    // Also where it is long enough: from now on it is kept as bits.
    let byte = [last.unwrap_or(0)];
    write.set_range(len - 1, &byte)?;
    Ok(last.is_none())
}

/// Performs one step on a string that is long enough, and writes its reply; whether the string
/// has changed.
fn perform(
    write: &mut Write<'_, '_>,
    step: &Step,
    reply: &mut Reply,
) -> Result<bool, CommandError> {
    let mut digits = itoa::Buffer::new();
    let mut window = Window::load(text_of(write.value(), &mut digits)?, step);
    let field = window.field(step);
    let old = step.kind.value(field);
    let (wanted, overflow) = match step.action {
        Action::Get => {
            reply.integer(old as i64);
            return Ok(false);
        }
        Action::Set(value, overflow) => (step.kind.given(value), overflow),
        Action::Increment(amount, overflow) => (old + i128::from(amount), overflow),
    };
    let Some(new) = step.kind.fit(wanted, overflow) else {
        reply.null();
        return Ok(false);
    };
    let answer = if matches!(step.action, Action::Set(..)) { old } else { new };
    reply.integer(answer as i64);
    if new == old {
        return Ok(false);
    }
    window.replace(step, new as u64);
    write.set_range(byte_of(step.bit), window.bytes(step))?;
    Ok(true)
}

/// One of the things to do.
#[derive(Clone, Copy)]
struct Step {
    kind: Kind,
    /// Its first bit.
    bit: u64,
    action: Action,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

/// What happens to a result that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Its upper bits are lost.
    Wrap,
    /// The nearest number is taken.
    Saturate,
    /// Nothing is done and the reply is null.
    Fail,
}

impl Step {
    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// The byte after its last one.
    fn end_byte(&self) -> usize {
        byte_of(self.bit + u64::from(self.kind.bits) - 1) + 1
    }
}

fn parse_steps(cx: &Data<'_>, args: Args<'_>) -> Result<Vec<Step>, CommandError> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < args.len() {
        let word = args.at(at);
        let left = args.len() - at - 1;
        let named = |name: &[u8], needs: usize| word.eq_ignore_ascii_case(name) && left >= needs;
        if named(b"overflow", 1) {
            overflow = Overflow::named(args.at(at + 1))?;
            at += 2;
            continue;
        }
        let reads = named(b"get", 2);
        if !reads && !named(b"set", 3) && !named(b"incrby", 3) {
            return Err(CommandError::Syntax);
        }
        let kind = Kind::parse(args.at(at + 1))?;
        let bit = match args.at(at + 2) {
            [b'#', index @ ..] => parse_offset(cx, index, u64::from(kind.bits))?,
            bit => parse_offset(cx, bit, 1)?,
        };
        let action = if reads {
            Action::Get
        } else {
            let value = parse_i64(args.at(at + 3)).ok_or(CommandError::NotInteger)?;
            if named(b"set", 3) {
                Action::Set(value, overflow)
            } else {
                Action::Increment(value, overflow)
            }
        };
        let step = Step { kind, bit, action };
        if step.end_byte() > STRING_MAX {
            return Err(CommandError::StringTooLong);
        }
        steps.push(step);
        at += if reads { 3 } else { 4 };
    }
    Ok(steps)
}

impl Overflow {
    fn named(word: &[u8]) -> Result<Overflow, CommandError> {
        if word.eq_ignore_ascii_case(b"wrap") {
            Ok(Overflow::Wrap)
        } else if word.eq_ignore_ascii_case(b"sat") {
            Ok(Overflow::Saturate)
        } else if word.eq_ignore_ascii_case(b"fail") {
            Ok(Overflow::Fail)
        } else {
            Err(CommandError::other("ERR Invalid OVERFLOW type specified"))
        }
    }
}

/// `i16`, `u8`, …
#[derive(Clone, Copy, Debug)]
struct Kind {
    signed: bool,
    /// 1 to 64, or to 63 without a sign.
    bits: u32,
}

impl Kind {
    fn parse(text: &[u8]) -> Result<Kind, CommandError> {
        let parsed = match text {
            [sign @ (b'i' | b'u'), bits @ ..] => {
                let signed = *sign == b'i';
                let bits = parse_i64(bits).and_then(|bits| u32::try_from(bits).ok());
                let bits = bits.filter(|bits| (1..=63 + u32::from(signed)).contains(bits));
                bits.map(|bits| Kind { signed, bits })
            }
            _ => None,
        };
        parsed.ok_or(CommandError::Other(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is."
                .into(),
        ))
    }

    /// The number that these bits are.
    fn value(self, field: u64) -> i128 {
        if self.signed {
            let unused = 64 - self.bits;
            i128::from((field << unused) as i64 >> unused)
        } else {
            i128::from(field)
        }
    }

    /// A number to be set as the client gives it: a negative one is large where there is no sign.
    fn given(self, value: i64) -> i128 {
        if self.signed { i128::from(value) } else { i128::from(value as u64) }
    }

    /// `wanted`, or what the rule for overflows makes of it.
    ///
    /// Saturation always takes the nearest number. Redis takes the largest one for a signed `SET`
    /// so far below the smallest that its own check overflows.
    fn fit(self, wanted: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = if self.signed {
            (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        match overflow {
            _ if (min..=max).contains(&wanted) => Some(wanted),
            Overflow::Wrap => Some(self.value(wanted as u64 & mask(self.bits))),
            Overflow::Saturate => Some(wanted.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

/// The lowest `bits` bits.
fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// Bytes that an integer touches: 64 bits and up to 7 before them.
const WINDOW_BYTES: usize = 9;

/// The bytes of a string from a step's first one on, zeros after its end.
struct Window([u8; WINDOW_BYTES]);

impl Window {
    fn load(text: &[u8], step: &Step) -> Window {
        let mut bytes = [0; WINDOW_BYTES];
        if let Some(rest) = text.get(byte_of(step.bit)..) {
            let len = rest.len().min(WINDOW_BYTES);
            bytes[..len].copy_from_slice(&rest[..len]);
        }
        Window(bytes)
    }

    /// The bits of the step's integer.
    fn field(&self, step: &Step) -> u64 {
        (self.number() >> Self::shift(step)) as u64 & mask(step.kind.bits)
    }

    /// Puts the lowest bits of `field` where the step's integer is.
    fn replace(&mut self, step: &Step, field: u64) {
        let shift = Self::shift(step);
        let kept = self.number() & !(u128::from(mask(step.kind.bits)) << shift);
        let new = kept | u128::from(field & mask(step.kind.bits)) << shift;
        self.0.copy_from_slice(&new.to_be_bytes()[16 - WINDOW_BYTES..]);
    }

    /// The bytes that the step's integer touches.
    fn bytes(&self, step: &Step) -> &[u8] {
        &self.0[..step.end_byte() - byte_of(step.bit)]
    }

    fn number(&self) -> u128 {
        self.0.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
    }

    /// How far the step's integer is from the window's last bit.
    fn shift(step: &Step) -> u32 {
        WINDOW_BYTES as u32 * 8 - (step.bit % 8) as u32 - step.kind.bits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit() {
        let (i8, u8) = (Kind { signed: true, bits: 8 }, Kind { signed: false, bits: 8 });
        let i64 = Kind { signed: true, bits: 64 };
        for (kind, wanted, wrapped, saturated) in [
            (i8, 128, -128, 127),
            (i8, -129, 127, -128),
            (u8, 256, 0, 255),
            (u8, -1, 255, 0),
            (u8, u8.given(-1), 255, 255),
            (i64, 1 << 63, i64::MIN.into(), i64::MAX.into()),
            (i64, -(1 << 63) - 1, i64::MAX.into(), i64::MIN.into()),
        ] {
            assert_eq!(kind.fit(wanted, Overflow::Wrap), Some(wrapped), "{kind:?} {wanted}");
            assert_eq!(kind.fit(wanted, Overflow::Saturate), Some(saturated), "{kind:?} {wanted}");
            assert_eq!(kind.fit(wanted, Overflow::Fail), None, "{kind:?} {wanted}");
        }
        for overflow in [Overflow::Wrap, Overflow::Saturate, Overflow::Fail] {
            assert_eq!(i8.fit(-128, overflow), Some(-128));
        }
    }

    #[test]
    fn kinds() {
        for text in ["i1", "i64", "u1", "u63"] {
            assert!(Kind::parse(text.as_bytes()).is_ok(), "{text}");
        }
        for text in ["", "i", "i0", "i65", "u64", "u0", "U8", "x8", "i-1", "i08"] {
            assert!(Kind::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_in_is_read_and_the_rest_stays(
            text in proptest::collection::vec(any::<u8>(), 0..12),
            bit in 0_u64..64,
            bits in 1_u32..=64,
            value: u64,
        ) {
            let kind = Kind { signed: true, bits };
            let step = Step { kind, bit, action: Action::Get };
            let mut after = text.clone();
            after.resize(after.len().max(step.end_byte()), 0);
            let before = after.clone();
            let mut window = Window::load(&text, &step);
            window.replace(&step, value);
            let written = window.bytes(&step);
            after[byte_of(bit)..byte_of(bit) + written.len()].copy_from_slice(written);
            prop_assert_eq!(Window::load(&after, &step).field(&step), value & mask(bits));
            let changed = bit..bit + u64::from(bits);
                for at in (0..after.len() as u64 * 8).filter(|at| !changed.contains(at)) {
                let one = |text: &[u8]| text[byte_of(at)] & super::super::mask_of(at);
                prop_assert_eq!(one(&before), one(&after), "bit {}", at);
            }
        }
    }
}
