//! Strings.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::Value;

use super::context::Data;
use super::table::{CommandResult, Definition, Group, ONE, Run, flag};

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "get",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        keys: ONE,
        run: Run::Data(get),
        group: Group::String,
        summary: "Returns the string value of a key.",
        ..Definition::BASE
    },
    Definition {
        name: "set",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: ONE,
        run: Run::Data(set),
        group: Group::String,
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        ..Definition::BASE
    },
];

fn get(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    match cx.read(args.at(1)) {
        Some(Value::Str(text)) => reply.bulk(text),
        Some(Value::Int(number)) => reply.bulk_integer(number),
        None => reply.null(),
        Some(_) => return Err(CommandError::WrongType),
    }
    Ok(())
}

fn set(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let aux = cx.new_aux();
    let (keyspace, key) = cx.locate(args.at(1));
    keyspace.set_string(&key, args.at(2), None, aux);
    cx.changed(args.at(1), "set");
    reply.ok();
    Ok(())
}
