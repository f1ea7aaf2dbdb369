//! The commands of a server with their arguments, as `COMMAND DOCS` describes them.

use std::io;

use crate::support::{Client, Reply};

/// A command, or a subcommand.
#[derive(Clone, Debug)]
pub struct Command {
    /// In lower case, the container's before it: `config|get`.
    pub name: String,
    /// The group in which it is documented.
    pub group: String,
    /// What follows its name.
    pub arguments: Vec<Argument>,
}

/// An argument, or several that belong together.
#[derive(Clone, Debug)]
pub struct Argument {
    /// What it is called.
    pub name: String,
    /// The word that announces it.
    pub token: Option<String>,
    /// What it stands for.
    pub kind: Kind,
    /// It may be left out.
    pub is_optional: bool,
    /// It may be said several times in a row.
    pub is_multiple: bool,
    /// … each time with its token.
    pub repeats_token: bool,
}

/// What an argument stands for.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A value of a type.
    Value(String),
    /// Its token alone.
    PureToken,
    /// One of these.
    OneOf(Vec<Argument>),
    /// All of these.
    Block(Vec<Argument>),
}

/// All commands of the server in the order of their names, with subcommands instead of their
/// containers.
///
/// # Errors
/// When the server does not answer.
pub fn commands(client: &mut Client) -> io::Result<Vec<Command>> {
    let mut commands = Vec::new();
    collect(&client.call(&["COMMAND", "DOCS"])?, &mut commands);
    commands.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(commands)
}

fn collect(docs: &Reply, commands: &mut Vec<Command>) {
    for (name, fields) in docs.pairs() {
        if let Some(subcommands) = fields.field("subcommands") {
            collect(subcommands, commands);
            continue;
        }
        let group = fields.field("group").and_then(Reply::text).unwrap_or_default();
        let arguments = fields.field("arguments").map(arguments).unwrap_or_default();
        commands.push(Command { name, group, arguments });
    }
}

fn arguments(reply: &Reply) -> Vec<Argument> {
    reply.items().iter().map(argument).collect()
}

fn argument(reply: &Reply) -> Argument {
    let text = |name: &str| reply.field(name).and_then(Reply::text);
    let parts = reply.field("arguments").map(arguments).unwrap_or_default();
    let flags = reply.field("flags").map_or(&[][..], Reply::items);
    let has = |name: &str| flags.iter().any(|flag| flag.text().as_deref() == Some(name));
    let kind = text("type").expect("an argument has a type");
    Argument {
        name: text("name").expect("an argument has a name"),
        token: text("token"),
        kind: match kind.as_str() {
            "pure-token" => Kind::PureToken,
            "oneof" => Kind::OneOf(parts),
            "block" => Kind::Block(parts),
            _ => Kind::Value(kind),
        },
        is_optional: has("optional"),
        is_multiple: has("multiple"),
        repeats_token: has("multiple_token"),
    }
}
