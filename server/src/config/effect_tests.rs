//! Tests of what follows from a directive: in force, refused, or said to have no effect.

use std::path::{Path, PathBuf};

use super::*;

fn refusal(text: &str) -> String {
    match Config::from_text(text) {
        Err(ConfigError::Line { reason, .. }) => reason,
        other => panic!("{text}: {other:?}"),
    }
}

/// Lines that promise safety.
const PROMISES: &[&str] = &[
    "rename-command FLUSHALL \"\"",
    "rename-command CONFIG c0nf1g",
    "user alice on >secret ~* +@all",
    "user default off",
    "user default on >secret ~* &* +@all",
    "user default on nopass ~app:* &* +@all",
    "user default on nopass ~* &* +@all -flushall",
    "aclfile /etc/redis/users.acl",
    "loadmodule /usr/lib/redis/modules/auth.so",
    "tls-port 6380",
    "tls-cert-file redis.crt",
    "tls-auth-clients no",
    "tls-cluster yes",
    "replicaof 10.0.0.1 6379",
    "slaveof 10.0.0.1 6379",
    "masterauth secret",
    "masteruser replica",
    "min-replicas-to-write 1",
    "min-slaves-to-write 1",
    "cluster-enabled yes",
];

#[test]
fn a_promise_of_safety_stops_the_start_and_says_what_to_do_instead() {
    for line in PROMISES {
        let reason = refusal(line);
        let (why, instead) = reason.split_once("; ").unwrap_or_else(|| panic!("{line}: {reason}"));
        assert!(why.len() > 10 && instead.len() > 10, "{line}: {reason}");
    }
}

#[test]
fn config_set_and_an_embedding_program_are_refused_as_well() {
    for line in PROMISES {
        let (name, value) = line.split_once(' ').unwrap();
        let Some(directive) = find(name) else { continue };
        let mut config = Config::default();
        let preset = config.preset(name, value).unwrap_err().to_string();
        let reason = refusal(line);
        assert!(preset.ends_with(&format!("'{name}') - {reason}")), "{line}: {preset}");
        let set = config.set(&[(name, value)]).unwrap_err().to_string();
        match directive.mutability {
            Mutability::Startup => assert!(set.ends_with("can't set immutable config"), "{set}"),
            _ => assert_eq!(set, preset),
        }
        assert_eq!(config, Config::default());
    }
}

#[test]
fn the_last_word_counts() {
    assert!(Config::from_text("tls-port 6380\ntls-port 0").is_ok());
    let error = Config::from_text("hz 10\n cluster-enabled yes\nhz 20").unwrap_err().to_string();
    assert!(error.contains("at line 2\n>>> 'cluster-enabled yes'\n"), "{error}");
}

#[test]
fn a_file_that_asks_for_nothing_starts() {
    for line in [
        "save \"\"",
        "save 3600 1 300 100 60 10000",
        "save 3600 1\nsave 300 100\nsave 60 10000",
        "save 900 1\nsave 300 10\nsave 60 10000",
        "appendonly no",
        "replicaof no one",
        "masterauth \"\"",
        "tls-port 0",
        "cluster-enabled no",
        "min-replicas-to-write 0",
        "shutdown-on-sigterm nosave now",
        "shutdown-on-sigint force save",
        "user default on nopass sanitize-payload ~* &* +@all",
        "user default on nopass allkeys allchannels allcommands",
    ] {
        assert!(Config::from_text(line).is_ok(), "{line}");
    }
}

#[test]
fn save_points_are_kept() {
    let points = |text: &str| {
        let config = Config::from_text(text).unwrap();
        assert!(config.warnings().is_empty(), "{text}");
        config.save_points.iter().map(|of| (of.seconds, of.changes)).collect::<Vec<_>>()
    };
    assert_eq!(points(""), [(3600, 1), (300, 100), (60, 10000)]);
    assert_eq!(points("save 900 1\nsave 300 10"), [(900, 1), (300, 10)]);
    assert_eq!(points("save 60 1\nsave \"\""), []);
    let mut config = Config::from_text("save \"\"").unwrap();
    assert!(config.set(&[("save", "60 5")]).is_ok());
    assert_eq!((config.save_points[0].seconds, config.save_points[0].changes), (60, 5));
    assert!(config.set(&[("save", "60")]).is_err());
}

#[test]
fn what_has_no_effect_says_so_once_and_only_off_its_default() {
    let config = Config::from_text(
        "save \"\"\nio-threads 4\nio-threads 5\nactiverehashing yes\n\
         lua-replicate-commands no\nport 1\ndatabases 17\nnotify-keyspace-events KEA\n\
         tls-key-file-pass \"\"",
    )
    .unwrap();
    let texts: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("'lua-replicate-commands no' is accepted, but has no effect: "));
    let says = |start: &str, end: &str| {
        texts.iter().any(|text| text.starts_with(start) && text.ends_with(end))
    };
    assert!(says("'io-threads 5' is accepted, but has no effect: ", ""), "{texts:?}");
    assert!(says("'databases 17'", "but there are only 16 databases"));
}

/// Each directive without effect: any other value than its default is in the log, at start and
/// with CONFIG SET, and the reference says why.
#[test]
fn nothing_is_accepted_silently() {
    let reference = reference();
    for directive in directives() {
        let Effect::Nothing(why) = directive.effect else { continue };
        assert!(directive.hidden || reference.contains(why), "{}", directive.name);
        let Some(value) = another_value(directive) else { continue };
        let mut config = Config::default();
        config.preset(directive.name, &value).unwrap();
        let says = |warnings: &[Warning]| warnings.iter().any(|w| w.name == directive.name);
        assert!(says(&config.warnings()), "{} {value}", directive.name);
        if directive.mutability == Mutability::Runtime {
            let changed = Config::default().set(&[(directive.name, &value)]).unwrap();
            assert!(says(changed.warnings()), "{} {value}", directive.name);
        }
    }
}

/// A value that the directive takes and that is not its default.
fn another_value(directive: &Directive) -> Option<String> {
    let texts = ["yes", "no", "7", "70", "1100", "2097153", "always", "1 2 3", "swapdb", "KEA"];
    let names = match directive.kind {
        Kind::Enum(names) | Kind::Flags(names) => names,
        _ => &[],
    };
    let default = directive.parse(&[directive.default], None).unwrap();
    let mut texts = texts.iter().chain(names);
    let other =
        texts.find(|text| directive.parse(&[text], None).is_ok_and(|value| value != default));
    other.map(|text| (*text).to_owned())
}

/// A directive in force is one that the server reads: the field that takes its value is named
/// somewhere outside of the tables.
#[test]
fn what_is_in_force_is_read_somewhere() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let readers = text_of(&source, &["settings.rs", "tables", "tests.rs", "effect_tests.rs"]);
    let settings = std::fs::read_to_string(source.join("config/settings.rs")).unwrap();
    let fields = settings.split("pub struct Settings {").nth(1).unwrap();
    let fields = fields.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    let fields: Vec<&str> = fields.filter_map(|line| line.split(':').next()).collect();
    assert!(fields.len() > 30 && fields.contains(&"pidfile"), "{fields:?}");
    for field in fields {
        let is_read = ["config", "config.load()", "config()", "settings", "now", "self"]
            .iter()
            .any(|holder| names(&readers, &format!("{holder}.{field}")));
        assert!(is_read, "nothing reads the field {field}: its directive has no effect");
    }
}

/// As [`what_is_in_force_is_read_somewhere`], for the balancer's policy.
#[test]
fn what_is_in_force_of_the_policy_is_read_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut readers =
        text_of(&root.join("balancer/src"), &["directives.rs", "simulate", "tests.rs"]);
    readers.push_str(&text_of(&root.join("server/src"), &["tables", "tests.rs"]));
    let table = std::fs::read_to_string(root.join("balancer/src/policy/directives.rs")).unwrap();
    let mut checked = 0;
    for entry in table.split("name: \"").skip(1) {
        let name = entry.split('"').next().unwrap();
        if !matches!(find(name).unwrap().effect, Effect::InForce) {
            continue;
        }
        for set in entry.split(" p.").skip(1).filter(|set| set.contains(" = ")) {
            let field: String =
                set.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let read = ["self", "policy", "policy()", "balancer"];
            let is_read = read.iter().any(|holder| names(&readers, &format!("{holder}.{field}")));
            assert!(is_read, "nothing reads {field}: {name} has no effect");
            checked += 1;
        }
    }
    assert!(checked >= 15, "{checked}");
}

/// Whether `text` holds `path` as a whole.
fn names(text: &str, path: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(path).any(|(at, _)| !text[at + path.len()..].starts_with(is_part))
}

/// All Rust source under a directory, but for files and directories of these names, in one line.
fn text_of(directory: &Path, without: &[&str]) -> String {
    let mut text = String::new();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if without.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            text.push_str(&text_of(&path, without));
        } else if name.ends_with(".rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            text.extend(code);
        }
    }
    text
}
