//! `BITOP`.

use ballast_protocol::{Args, CommandError, Reply};

use crate::commands::context::Data;
use crate::commands::strings::text_of;
use crate::commands::table::CommandResult;

pub(super) fn bitop(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let operation = Operation::named(args.at(1)).ok_or(CommandError::Syntax)?;
    let target = cx.key(2)?;
    if operation == Operation::Not && args.len() > 4 {
        return Err(CommandError::other("ERR BITOP NOT must be called with a single source key."));
    }
    let mut result = Vec::new();
    for at in 3..args.len() {
        let mut digits = itoa::Buffer::new();
        let text = text_of(cx.read(cx.key(at)?), &mut digits)?;
        if at == 3 {
            result.extend_from_slice(text);
        } else {
            operation.combine(&mut result, text);
        }
    }
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    if !result.is_empty() {
        // What bits make is no number, though it may look like one.
        let mut write = cx.write(target);
        write.set_bits(&result);
        write.changed("set");
    } else {
        cx.write(target).remove("del");
    }
    reply.integer(result.len() as i64);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn named(word: &[u8]) -> Option<Operation> {
        let operations: [(&[u8], Operation); 4] = [
            (b"and", Operation::And),
            (b"or", Operation::Or),
            (b"xor", Operation::Xor),
            (b"not", Operation::Not),
        ];
        let found = operations.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, operation)| operation)
    }

    /// Combines `text` into `result`; the shorter one counts as followed by zeros.
    fn combine(self, result: &mut Vec<u8>, text: &[u8]) {
        if result.len() < text.len() {
            result.resize(text.len(), 0);
        }
        let (common, rest) = result.split_at_mut(text.len());
        let pairs = common.iter_mut().zip(text);
        match self {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                rest.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Operation::Not => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_string_is_followed_by_zeros() {
        for (name, result) in [("AND", [0x0f, 0]), ("OR", [0xff, 0x11]), ("xor", [0xf0, 0x11])] {
            let operation = Operation::named(name.as_bytes()).unwrap();
            let (mut short, mut long) = (vec![0xff], vec![0x0f, 0x11]);
            operation.combine(&mut short, &[0x0f, 0x11]);
            operation.combine(&mut long, &[0xff]);
            assert_eq!(short, result, "{name}");
            assert_eq!(long, result, "{name}");
        }
    }
}
