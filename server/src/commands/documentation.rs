//! `COMMAND DOCS`: the documentation that the table holds, in the shape of Redis's.

use ballast_protocol::{Args, Reply};

use super::context::SessionContext;
use super::introspection;
use super::syntax::{self, Argument, Kind};
use super::table::{Command, CommandResult};

pub(super) fn docs(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let commands: Vec<&Command> = if args.len() == 2 {
        super::table().iter().collect()
    } else {
        args.from(2).iter().filter_map(introspection::find).collect()
    };
    reply.map(commands.len());
    for command in commands {
        reply.bulk_str(&command.full_name);
        write_docs(command, reply);
    }
    Ok(())
}

fn write_docs(command: &Command, reply: &mut Reply) {
    let subs: Vec<&Command> =
        command.subcommands().iter().filter(|sub| !sub.name.is_empty()).collect();
    // A test parses each syntax.
    let arguments = syntax::parse(command.syntax).unwrap_or_default();
    reply.map(4 + usize::from(!arguments.is_empty()) + usize::from(!subs.is_empty()));
    for (name, value) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ] {
        reply.bulk_str(name);
        reply.bulk_str(value);
    }
    if !arguments.is_empty() {
        let mut specifications = Specifications::of(command);
        reply.bulk_str("arguments");
        write_arguments(&arguments, &mut specifications, reply);
    }
    if !subs.is_empty() {
        reply.bulk_str("subcommands");
        reply.map(subs.len());
        for sub in subs {
            reply.bulk_str(&sub.full_name);
            write_docs(sub, reply);
        }
    }
}

/// Tells which key specification of `COMMAND INFO` finds the key that an argument is.
struct Specifications {
    count: usize,
    /// The one of the next key.
    next: usize,
    /// That of keys which patterns name, if there are such.
    of_patterns: Option<usize>,
}

impl Specifications {
    fn of(command: &Command) -> Specifications {
        let all = command.keys.specifications(command.access);
        let of_patterns = all.iter().position(|one| one.access.is_anywhere);
        Specifications { count: all.len(), next: 0, of_patterns }
    }

    fn index(&mut self, kind: &Kind) -> Option<usize> {
        match kind {
            Kind::Key => {
                if self.of_patterns == Some(self.next) {
                    self.next += 1;
                }
                let index = self.next.min(self.count.checked_sub(1)?);
                self.next += 1;
                Some(index)
            }
            Kind::Pattern => self.of_patterns,
            _ => None,
        }
    }
}

fn write_arguments(arguments: &[Argument], specifications: &mut Specifications, reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(argument, specifications, reply);
    }
}

fn write_argument(argument: &Argument, specifications: &mut Specifications, reply: &mut Reply) {
    let flags: Vec<&str> = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
        (argument.repeats_token, "multiple_token"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    let specification = specifications.index(&argument.kind);
    let parts = match &argument.kind {
        Kind::OneOf(parts) | Kind::Block(parts) => Some(parts),
        _ => None,
    };
    reply.map(
        2 + usize::from(specification.is_some())
            + usize::from(argument.token.is_some())
            + usize::from(!flags.is_empty())
            + usize::from(parts.is_some()),
    );
    reply.bulk_str("name");
    reply.bulk_str(&argument.name);
    reply.bulk_str("type");
    reply.bulk_str(argument.kind.name());
    if let Some(index) = specification {
        reply.bulk_str("key_spec_index");
        reply.integer(i64::try_from(index).unwrap_or(0));
    }
    if let Some(token) = argument.token {
        reply.bulk_str("token");
        reply.bulk_str(token);
    }
    if !flags.is_empty() {
        reply.bulk_str("flags");
        reply.set(flags.len());
        flags.iter().for_each(|name| reply.simple(name));
    }
    if let Some(parts) = parts {
        reply.bulk_str("arguments");
        write_arguments(parts, specifications, reply);
    }
}
