//! `COMMAND DOCS` describes the arguments of each command as Redis does.

use std::collections::BTreeMap;

use ballast_tests::support::{Kind, Process, Reply, Target, redis_version};

/// Commands whose arguments we describe otherwise than Redis 7.0, each with its reason.
const KNOWN: &[(&str, &str)] = &[
    ("bitop", "the operations are named, as from Redis 7.2 on"),
    ("client|kill", "the options are alternatives that may be repeated, and MAXAGE is one"),
    ("client|list", "TYPE and ID exclude each other"),
    ("command|getkeys", "Redis 7.0 describes no arguments"),
    ("command|getkeysandflags", "Redis 7.0 describes no arguments"),
    ("config|get", "a block of one argument is that argument"),
    ("debug", "Redis describes no arguments, and we have others"),
    ("psubscribe", "a block of one argument is that argument"),
    ("zrank", "WITHSCORE is of Redis 7.2"),
    ("zrevrank", "WITHSCORE is of Redis 7.2"),
];

type Docs = BTreeMap<String, String>;

#[test]
fn arguments_are_described_as_by_redis() {
    if !redis_version().is_some_and(|version| version.starts_with("7.0.")) {
        eprintln!("no redis-server 7.0.x to compare with");
        return;
    }
    let [redis, ballast] = [Kind::Redis, Kind::Ballast { shards: 1 }].map(|kind| {
        let server = Process::start(&kind, &[]).expect("the server starts");
        let mut client = server.connect().expect("a connection");
        let mut docs = Docs::new();
        collect(&client.call(&["COMMAND", "DOCS"]).expect("a reply"), &mut docs);
        docs
    });
    assert!(ballast.len() > 250, "{} commands", ballast.len());
    let mut differences = Vec::new();
    for (name, ours) in &ballast {
        let Some(theirs) = redis.get(name) else { continue };
        let is_known = KNOWN.iter().any(|(known, _)| known == name);
        if (ours == theirs) == is_known {
            differences.push(format!("{name}\n  redis:   {theirs}\n  ballast: {ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The arguments of all commands and subcommands of a reply of `COMMAND DOCS`.
fn collect(reply: &Reply, docs: &mut Docs) {
    for (name, fields) in reply.pairs() {
        let described = fields.field("arguments");
        docs.insert(name, described.map_or_else(String::new, arguments));
        if let Some(subcommands) = fields.field("subcommands") {
            collect(subcommands, docs);
        }
    }
}

/// Arguments in a line. What a group or a lone token is called is left out, and since when
/// there is an option.
fn arguments(reply: &Reply) -> String {
    let one = |argument: &Reply| {
        let text = |name: &str| argument.field(name).and_then(Reply::text);
        let kind = text("type").expect("an argument has a type");
        let mut line = text("token").map_or_else(String::new, |token| token + "=");
        match argument.field("arguments") {
            Some(parts) => line += &format!("{kind}({})", arguments(parts)),
            // Its name is its token or another word for it.
            None if kind == "pure-token" => line += &kind,
            None => line += &format!("{}:{kind}", text("name").expect("an argument has a name")),
        }
        line.extend(text("key_spec_index").map(|index| format!("@{index}")));
        for flag in argument.field("flags").map_or(&[][..], Reply::items) {
            line.extend(flag.text().map(|flag| format!("+{flag}")));
        }
        line
    };
    reply.items().iter().map(one).collect::<Vec<_>>().join(" ")
}
