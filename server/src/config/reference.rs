//! `--help` and the reference of directives, both written from the tables.

use std::fmt::Write as _;

use super::directive::{Directive, Effect, Kind, Mutability};
use super::tables::families;

/// The text of `--help`: usage, then the directives that have an effect.
pub fn help() -> String {
    let mut text = String::from(
        "Usage: ballast [/path/to/redis.conf] [--directive value ...] [-]\n       \
         ballast -              read the configuration from standard input\n       \
         ballast -v, --version  print the version\n       \
         ballast -h, --help     print this help\n\n\
         Examples:\n       \
         ballast\n       \
         ballast /etc/redis.conf --port 7777\n       \
         ballast --shards 4 --maxmemory 4gb --maxmemory-policy allkeys-lfu --save \"\"\n       \
         echo 'maxmemory 128mb' | ballast -\n",
    );
    for family in families() {
        let shown =
            family.directives.iter().filter(|d| matches!(d.effect, Effect::InForce) && !d.hidden);
        for (place, directive) in shown.enumerate() {
            if place == 0 {
                let _ = writeln!(text, "\n{}:", family.title);
            }
            let default = if directive.default.is_empty() { "\"\"" } else { directive.default };
            let name = format!("--{} {default}", directive.name);
            let gap = if name.len() > NAME_WIDTH { "\n".to_owned() + INDENT } else { " ".into() };
            let _ = writeln!(text, "  {name:<NAME_WIDTH$}{gap}{}", directive.doc);
        }
    }
    text.push_str(
        "\nOther directives of Redis are known. One that asks for safety which this server does \
         not\ngive (a file, a user, TLS, a replica) is refused; any other is accepted, with a \
         line in the\nlog that says why it has no effect.\n",
    );
    text
}

/// Columns of `--help` for the flag; a longer one has its meaning on the next line.
const NAME_WIDTH: usize = 42;
const INDENT: &str = "                                             ";

/// All directives as Markdown, a table per family.
pub fn reference() -> String {
    let mut text = String::from(
        "# Directives\n\nWritten from the tables in `server/src/config/tables`. A directive marked \
         *No effect* is accepted; a value\nother than its default leaves a line in the log. One \
         marked *Refused* promises safety that the server does\nnot give: it takes its default \
         only, at start and by CONFIG SET. Beside directives a file may hold `include`;\n`user`, \
         `rename-command` and `loadmodule` are refused.\n\n",
    );
    for family in families() {
        let _ = writeln!(
            text,
            "## {}\n\n| Directive | Value | Default | Change | Meaning |",
            family.title
        );
        text.push_str("|---|---|---|---|---|\n");
        for directive in family.directives.iter().filter(|directive| !directive.hidden) {
            let aliases: String = directive.aliases.iter().map(|a| format!(", `{a}`")).collect();
            let _ = writeln!(
                text,
                "| `{}`{aliases} | {} | `{}` | {} | {}{} |",
                directive.name,
                value_column(directive),
                directive.default,
                change_column(directive.mutability),
                directive.doc.replace('|', "\\|"),
                effect(directive)
            );
        }
        text.push('\n');
    }
    text
}

fn value_column(directive: &Directive) -> String {
    let kind = match directive.kind {
        Kind::Int { min, max } => format!("{min} to {}", number(max)),
        Kind::Octal { max } => format!("octal, up to {max:o}"),
        Kind::Bytes { .. } => "memory size".into(),
        Kind::BytesOrPercent => "memory size or percentage".into(),
        Kind::Bool => "yes, no".into(),
        Kind::Enum(names) => names.join(", "),
        Kind::Flags(names) => format!("any of {}", names.join(", ")),
        Kind::Text => "text".into(),
        Kind::List => "words".into(),
        Kind::Numbers { count_max, min, max, .. } => {
            format!("{count_max} numbers, {min} to {}", number(max))
        }
        Kind::Percentiles => "percentiles".into(),
        Kind::SavePoints => "pairs of seconds and changes".into(),
        Kind::OutputBufferLimits => "class, hard, soft, seconds".into(),
        Kind::Policy => "as described".into(),
        Kind::KeyspaceEvents => "letters of `Ag$lshzxeKEtmdn`".into(),
    };
    match directive.unit {
        "" | "bytes" => kind,
        unit => format!("{kind} ({unit})"),
    }
}

fn number(max: i64) -> String {
    const INT_MAX: i64 = i32::MAX as i64;
    const UINT_MAX: i64 = u32::MAX as i64;
    match max {
        i64::MAX => "2⁶³-1".into(),
        INT_MAX => "2³¹-1".into(),
        UINT_MAX => "2³²-1".into(),
        other => other.to_string(),
    }
}

fn change_column(mutability: Mutability) -> &'static str {
    match mutability {
        Mutability::Runtime => "any time",
        Mutability::Protected => "any time, protected",
        Mutability::Startup => "at start",
    }
}

fn effect(directive: &Directive) -> String {
    match directive.effect {
        Effect::InForce => String::new(),
        Effect::Nothing(why) => format!(" *No effect: {why}.*"),
        Effect::Refused(refusal) => format!(" *Refused: {refusal}.*"),
    }
}
