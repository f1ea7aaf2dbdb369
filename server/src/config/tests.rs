//! Tests of the configuration as a whole: texts in, values, errors and texts out.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use ballast_balancer::policy::Policy;

/// `name=value` of every directive of redis-server 7.0.15.
const REDIS_DEFAULTS: &str = include_str!("redis_defaults.txt");

fn read(text: &str) -> Config {
    Config::from_text(text).unwrap()
}

fn refused(text: &str) -> (usize, String) {
    match Config::from_text(text).unwrap_err() {
        ConfigError::Line { line, reason, .. } => (line, reason),
        other => panic!("{other}"),
    }
}

fn shown(config: &Config, name: &str) -> String {
    config.value(name).unwrap().render()
}

/// A directory of this test process and test alone.
fn scratch(test: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ballast-config-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn every_default_is_what_it_renders_to() {
    let config = Config::default();
    for directive in directives() {
        let value = config.value(directive.name).unwrap();
        let again = directive.parse(&[&value.render()], None).unwrap();
        assert_eq!(*value, again, "{}", directive.name);
    }
}

#[test]
fn the_settings_hold_the_defaults_of_redis() {
    let config = Config::default();
    assert_eq!(config.port, 6379);
    assert_eq!(config.bind, ["*", "-::*"]);
    assert_eq!(config.proto_max_bulk_len, 512 << 20);
    assert_eq!(config.maxmemory_policy, MaxmemoryPolicy::NoEviction);
    assert_eq!(config.slowlog_log_slower_than_us, 10_000);
    assert_eq!(config.list_max_listpack_size, -2);
    assert_eq!(config.latency_tracking_info_percentiles, [50.0, 99.0, 99.9]);
    assert_eq!(config.client_output_buffer_limits[1].hard_bytes, 256 << 20);
    assert!(config.protected_mode && config.requirepass.is_empty());
    assert!(config.shards >= 1);
}

#[test]
fn every_directive_of_redis_is_known_and_has_its_default() {
    let ours = Config::default();
    let listed = ours.get(&["*"]);
    let lines = REDIS_DEFAULTS.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for (name, default) in lines.filter_map(|line| line.split_once('=')) {
        assert!(listed.iter().any(|(known, _)| known == name), "{name} is missing");
        assert_eq!(shown(&ours, name), default, "{name}");
        count += 1;
    }
    assert_eq!(count, 191);
}

#[test]
fn a_file_sets_values() {
    let config = read(
        "# comment\n\n  PORT 7000 \r\nmaxmemory 64mb\nmaxmemory-policy ALLKEYS-LFU\n\
         requirepass \"a b\\x21\"\nbind 127.0.0.1 -::1\nhash-max-ziplist-entries 7\n\
         user default on nopass sanitize-payload ~* &* +@all",
    );
    assert_eq!((config.port, config.maxmemory), (7000, 64 << 20));
    assert_eq!(config.maxmemory_policy, MaxmemoryPolicy::AllkeysLfu);
    assert_eq!(config.requirepass, "a b!");
    assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
    assert_eq!(config.hash_max_listpack_entries, 7);
}

#[test]
fn lines_add_up_as_in_redis() {
    let saves = |text: &str| {
        let mut config = Config::default();
        load::Loader::new(&mut config).load(text.as_bytes(), None).unwrap();
        shown(&config, "save")
    };
    assert_eq!(saves("save 60 1\nsave 30 2"), "60 1 30 2");
    assert_eq!(saves("save 60 1 30 2\nsave 5 5"), "60 1 30 2 5 5");
    assert_eq!(saves("save 60 1\nsave \"\"\nsave 30 2"), "30 2");
    assert_eq!(saves("save \"60 1 30 2\""), "60 1 30 2");
    assert_eq!(shown(&read("save"), "save"), "");
    assert_eq!(shown(&read("hz 30\nhz 20"), "hz"), "20");
    assert_eq!(
        shown(
            &read(
                "client-output-buffer-limit normal 1 2kb 3\n\
                 client-output-buffer-limit \"replica 1mb 0 0\""
            ),
            "client-output-buffer-limit"
        ),
        "normal 1 2048 3 slave 1048576 0 0 pubsub 33554432 8388608 60"
    );
    assert_eq!(shown(&read("replicaof no one"), "slaveof"), "");
}

#[test]
fn bad_lines_are_refused_in_the_words_of_redis() {
    let wrong_number = "wrong number of arguments";
    for (text, line, reason) in [
        ("port 1 2", 1, wrong_number),
        ("# c\n\nport \"12\n", 3, "Unbalanced quotes in configuration line"),
        ("port", 1, wrong_number),
        ("timeout 5 # comment", 1, wrong_number),
        ("hz abc", 1, "argument couldn't be parsed into an integer"),
        ("databases 0", 1, "argument must be between 1 and 2147483647 inclusive"),
        ("maxmemory 10x", 1, "argument must be a memory value"),
        ("appendonly maybe", 1, "argument must be 'yes' or 'no'"),
        ("save a b", 1, "Invalid save parameters"),
        (
            "client-output-buffer-limit normal 1 2",
            1,
            "Wrong number of arguments in buffer limit configuration.",
        ),
        ("foo bar", 1, "Bad directive or wrong number of arguments"),
        (
            "maxmemroy 1gb",
            1,
            "Bad directive or wrong number of arguments, did you mean 'maxmemory'?",
        ),
        ("include", 1, "Bad directive or wrong number of arguments"),
    ] {
        assert_eq!(refused(text), (line, reason.to_owned()), "{text}");
    }
}

#[test]
fn the_fatal_error_reads_like_that_of_redis() {
    let error = Config::from_args(&["--foo", "bar"]).unwrap_err();
    let text = error.to_string().replace(env!("CARGO_PKG_VERSION"), "X");
    assert_eq!(
        text,
        "\n*** FATAL CONFIG FILE ERROR (Ballast X) ***\n\
         Reading the configuration file, at line 2\n>>> 'foo \"bar\"'\n\
         Bad directive or wrong number of arguments"
    );
}

#[test]
fn flags_follow_the_file_and_standard_input() {
    let path = scratch("flags").join("a.conf");
    std::fs::write(&path, "hz 20\ntimeout 7\nport 7001").unwrap();
    let arguments = [path.to_str().unwrap(), "--port", "7003", "--shards", "3", "-"];
    let startup = Startup::parse(&arguments, &mut &b"timeout 8\nport 7002"[..]).unwrap();
    let Startup::Run(config) = startup else { panic!("{startup:?}") };
    assert_eq!((config.hz, config.timeout_s, config.port, config.shards), (20, 8, 7003, 3));
    assert_eq!(config.file(), Some(path.as_path()));
    assert!(config.dir.is_absolute());
    assert_eq!(config.warnings(), []);
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn help_and_version_start_no_server() {
    let parse = |flag: &str| Startup::parse(&[flag], &mut std::io::empty()).unwrap();
    assert!(matches!(parse("-h"), Startup::Help(text) if text.contains("--maxmemory-policy")));
    assert!(matches!(parse("--help"), Startup::Help(_)));
    assert!(matches!(parse("-v"), Startup::Version));
    assert!(matches!(parse("--version"), Startup::Version));
}

#[test]
fn includes_are_read_in_place_and_in_order() {
    let directory = scratch("include");
    std::fs::write(directory.join("1.part"), "hz 11\ntimeout 1\n").unwrap();
    std::fs::write(directory.join("2.part"), "hz 12\n").unwrap();
    let here = directory.display();
    let config = read(&format!("hz 10\ninclude {here}/*.part\ntimeout 2\ninclude {here}/no*.x"));
    assert_eq!((config.hz, config.timeout_s), (12, 2));

    std::fs::write(directory.join("bad.part"), "\nhz x\n").unwrap();
    let error = Config::from_text(&format!("include {here}/bad.part")).unwrap_err().to_string();
    assert!(error.contains(&format!("file {here}/bad.part, at line 2\n>>> 'hz x'")), "{error}");

    let missing = Config::from_text(&format!("include {here}/none")).unwrap_err().to_string();
    assert!(missing.starts_with("Fatal error, can't open config file"), "{missing}");

    std::fs::write(directory.join("loop"), format!("include {here}/loop\n")).unwrap();
    let endless = Config::from_text(&format!("include {here}/loop")).unwrap_err().to_string();
    assert!(endless.contains("include nests deeper"), "{endless}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn config_get_answers_globs_aliases_and_hidden_names() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        config.get(patterns).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&["maxmemor[xy]", "MaxMemory"]), ["maxmemory"]);
    assert_eq!(names(&["MaxMemory"]), ["MaxMemory"]);
    assert_eq!(names(&["hz", "HZ", "none"]), ["hz"]);
    assert_eq!(names(&["LIST-MAX-*"]), ["list-max-listpack-size", "list-max-ziplist-size"]);
    assert_eq!(names(&["slaveof"]), ["slaveof"]);
    assert_eq!(names(&["watch*"]), Vec::<String>::new());
    assert_eq!(names(&["watchdog-period"]), ["watchdog-period"]);
    assert_eq!(config.get(&["save", "appendonly"])[1], ("appendonly".into(), "no".into()));
}

/// Name, value and what Redis 7.0 answers.
const REFUSED: &[(&str, &str, &str)] = &[
    ("maxmemory", "abc", NOT_MEMORY),
    ("MAXMEMORY", "-1", NOT_MEMORY),
    ("maxmemory", "1 kb", NOT_MEMORY),
    ("maxmemory", "0x10", NOT_MEMORY),
    ("maxmemory", "50%", NOT_MEMORY),
    ("hz", "abc", NOT_INT),
    ("timeout", "", NOT_INT),
    ("timeout", "05", NOT_INT),
    ("timeout", "+5", NOT_INT),
    ("timeout", " 5", NOT_INT),
    ("maxmemory-samples", "99999999999999999999", NOT_INT),
    ("timeout", "-5", "argument must be between 0 and 2147483647 inclusive"),
    ("port", "70000", "argument must be between 0 and 65535 inclusive"),
    ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
    (
        "proto-max-bulk-len",
        "1",
        "argument must be between 1048576 and 9223372036854775807 inclusive",
    ),
    ("maxmemory-policy", "foo", POLICIES),
    ("maxmemory-policy", "noeviction foo", POLICIES),
    ("appendonly", "foo", "argument must be 'yes' or 'no'"),
    ("databases", "10", "can't set immutable config"),
    ("dir", "/tmp", "can't set protected config"),
    ("save", "1", "Invalid save parameters"),
    ("save", "0 1", "Invalid save parameters"),
    ("save", "1 -1", "Invalid save parameters"),
    (
        "client-output-buffer-limit",
        "foo 1 2 3",
        "Invalid client class specified in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit",
        "normal 1 2 a",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    ),
    ("notify-keyspace-events", "KEQ", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
    ("oom-score-adj-values", "0 200", "wrong number of arguments"),
    ("maxmemory-clients", "500%", "percentage argument must be less or equal to 100"),
    ("maxmemory-clients", "5%5", "argument must be a memory or percent value"),
    ("latency-tracking-info-percentiles", "50 200", PERCENTILES),
    (
        "latency-tracking-info-percentiles",
        "abc",
        "Invalid latency-tracking-info-percentiles parameters",
    ),
    (
        "shutdown-on-sigint",
        "",
        "argument(s) must be one of the following: default, save, nosave, now, force",
    ),
    (
        "shutdown-on-sigint",
        "save nosave",
        "shutdown options SAVE and NOSAVE can't be used simultaneously",
    ),
    (
        "cluster-announce-hostname",
        "a_b",
        "Hostnames may only contain alphanumeric characters, hyphens or dots",
    ),
];
const POLICIES: &str = "argument(s) must be one of the following: volatile-lru, volatile-lfu, \
                        volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, \
                        noeviction";
const NOT_INT: &str = "argument couldn't be parsed into an integer";
const NOT_MEMORY: &str = "argument must be a memory value";
const PERCENTILES: &str =
    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";

#[test]
fn config_set_refuses_in_the_words_of_redis() {
    for (name, value, reason) in REFUSED {
        let error = Config::default().set(&[(*name, *value)]).unwrap_err().to_string();
        let argument = name.to_ascii_lowercase();
        let expected =
            format!("CONFIG SET failed (possibly related to argument '{argument}') - {reason}");
        assert_eq!(error, expected, "{name} {value}");
    }
    let unknown = Config::default().set(&[("FOO", "bar")]).unwrap_err().to_string();
    assert_eq!(unknown, "Unknown option or number of arguments for CONFIG SET - 'FOO'");
    let twice = Config::default().set(&[("Hz", "1"), ("hz", "2")]).unwrap_err().to_string();
    assert!(twice.ends_with("'hz') - duplicate parameter"), "{twice}");
}

#[test]
fn config_set_accepts_what_redis_accepts() {
    let mut config = Config::default();
    for (name, value, after) in [
        ("maxmemory", "10mB", "10485760"),
        ("maxmemory", "010", "10"),
        ("maxmemory", "kb", "0"),
        ("maxmemory", "18446744073709551615", "18446744073709551615"),
        ("maxmemory", "", "0"),
        ("maxmemory-clients", "50%", "50%"),
        ("maxmemory-clients", "10mb", "10485760"),
        ("hz", "100000", "500"),
        ("hz", "0", "1"),
        ("save", "", ""),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "Kg$lsh", "g$lshK"),
        ("notify-keyspace-events", "Eg$lshzxetdm", "AEm"),
        ("shutdown-on-sigint", "force now", "now force"),
        ("shutdown-on-sigint", "default now", "now"),
        ("latency-tracking-info-percentiles", "0.001 50.5", "0.001 50.5"),
        ("latency-tracking-info-percentiles", "", ""),
        ("loglevel", "NOTICE", "notice"),
        ("list-max-ziplist-size", "5", "5"),
        (
            "client-output-buffer-limit",
            "normal 1 2 3 replica 1mb 2 3",
            "normal 1 2 3 slave 1048576 2 3 pubsub 33554432 8388608 60",
        ),
    ] {
        let _ = config.set(&[(name, value)]).unwrap();
        assert_eq!(shown(&config, name), after, "{name} {value}");
    }
}

#[test]
fn config_set_changes_all_or_nothing_and_can_be_reverted() {
    let before = Config::default();
    let mut config = before.clone();
    assert!(config.set(&[("maxmemory", "1gb"), ("hz", "zz")]).is_err());
    assert!(config.set(&[("maxmemory", "1gb"), ("databases", "3")]).is_err());
    assert_eq!(config, before);

    let pairs = [
        ("maxmemory", "1gb"),
        ("hash-max-listpack-entries", "1"),
        ("hash-max-ziplist-entries", "2"),
    ];
    let changed = config.set(&pairs).unwrap();
    assert_eq!((config.maxmemory, config.hash_max_listpack_entries), (1 << 30, 2));
    assert!(changed.contains("MAXMEMORY") && !changed.contains("hz"));
    config.revert(changed);
    assert_eq!(config, before);

    assert!(config.set(&[("maxmemory", "0")]).unwrap().is_empty());
    assert_eq!(config.set(&[("repl-timeout", "5")]).unwrap().warnings().len(), 1);
}

#[test]
fn protected_directives_open_to_whom_the_file_says() {
    let mut config = read("enable-protected-configs local");
    assert!(config.set(&[("dbfilename", "x.rdb")]).is_err());
    assert!(config.set_as(Peer::Local, &[("dbfilename", "x.rdb")]).is_ok());
    assert!(config.set_as(Peer::Local, &[("dbfilename", "a/x.rdb")]).is_err());
    assert_eq!(shown(&config, "dbfilename"), "x.rdb");
}

#[test]
fn a_rewrite_keeps_the_file_and_changes_what_changed() {
    let old = "# top\nport 7000\n  hz   20\nmaxmemory 64mb\n# middle\n\
               save 900 1\nsave 300 10\nsave 60 10000\n\
               hash-max-ziplist-entries 5\nhz 30\nlua-replicate-commands yes\n\
               notify-keyspace-events \"\"\n\n# tail\n";
    let mut config = read(old);
    assert_eq!(String::from_utf8(config.rewritten(old.as_bytes())).unwrap(), old);

    let pairs = [("save", ""), ("timeout", "5"), ("requirepass", "a \"b#"), ("hz", "40")];
    let _ = config.set(&pairs).unwrap();
    let new = String::from_utf8(config.rewritten(old.as_bytes())).unwrap();
    assert_eq!(
        new,
        "# top\nport 7000\nhz 40\nmaxmemory 64mb\n# middle\nsave \"\"\n\
         hash-max-ziplist-entries 5\nlua-replicate-commands yes\n\
         notify-keyspace-events \"\"\n\n# tail\n\n# Generated by CONFIG REWRITE\n\
         timeout 5\nrequirepass \"a \\\"b#\"\n"
    );
    assert_eq!(read(&new), config);
    assert_eq!(config.rewritten(new.as_bytes()), new.as_bytes(), "rewriting twice changes nothing");

    let _ = config.set(&[("maxclients", "5")]).unwrap();
    let newer = String::from_utf8(config.rewritten(new.as_bytes())).unwrap();
    assert_eq!(newer, format!("{new}maxclients 5\n"));
}

#[test]
fn a_rewrite_replaces_the_file_and_leaves_nothing_behind() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = scratch("rewrite");
    let path = directory.join("a.conf");
    std::fs::write(&path, "hz 20").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut config = Config::from_args(&[path.to_str().unwrap()]).unwrap();
    let _ = config.set(&[("hz", "30")]).unwrap();
    config.rewrite_own_file().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("hz 30\n"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    let again = Config::from_args(&[path.to_str().unwrap()]).unwrap();
    assert_eq!(again, config);
    std::fs::remove_dir_all(&directory).unwrap();

    assert!(matches!(config.rewrite_own_file(), Err(RewriteError::Io(_))));
    let unnamed = Config::default().rewrite_own_file().unwrap_err();
    assert_eq!(unnamed.to_string(), "The server is running without a config file");
}

#[test]
fn the_balancer_directives_are_checked() {
    let mut config = Config::default();
    assert_eq!(shown(&config, "balancer-windows"), "always");
    assert!(config.set(&[("balancer-node-load", "10 20")]).is_err());
    assert!(config.set(&[("balancer-node-load", "10")]).is_err());
    assert!(config.clone().set(&[("balancer-node-load", "0 0")]).is_ok());
    assert!(config.set(&[("balancer-thread-mode", "sometimes")]).is_err());
    assert!(config.set(&[("balancer-windows", "monday at noon")]).is_err());
    assert_eq!(config.balancer, Policy::default());

    let windows = "mon-fri 22:00-06:00; sat,sun 00:00-24:00";
    assert!(config.set(&[("balancer-windows", windows), ("balancer-min-gain", "2")]).is_ok());
    assert_eq!(shown(&config, "balancer-windows"), "mon-fri 22:00-06:00; sat-sun 00:00-24:00");
    assert!((config.balancer.min_gain - 0.02).abs() < 1e-9);
    let file = read(&format!("balancer-windows \"{windows}\"\nbalancer-min-gain 2"));
    assert_eq!(file.balancer, config.balancer);

    let never = config.set(&[("balancer-windows", "never")]).unwrap();
    assert!(never.warnings()[0].to_string().contains("nothing moves"));
}

#[test]
fn the_reference_in_docs_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/directives.md");
    if std::env::var_os("BALLAST_WRITE_DOCS").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == reference(), "run this test with BALLAST_WRITE_DOCS=1 and commit the file");
}

#[test]
fn the_reference_lists_each_directive() {
    let reference = reference();
    for directive in directives().iter().filter(|directive| !directive.hidden) {
        assert!(reference.contains(&format!("| `{}`", directive.name)), "{}", directive.name);
    }
}

/// A directive and a value that it takes.
fn a_line() -> impl Strategy<Value = (&'static Directive, String)> {
    let directive = prop::sample::select(directives().to_vec());
    directive.prop_flat_map(|directive| (Just(directive), a_value(directive.kind)))
}

fn a_value(kind: Kind) -> BoxedStrategy<String> {
    match kind {
        Kind::Int { min, max } => (min..=max).prop_map(|number| number.to_string()).boxed(),
        Kind::Octal { max } => (0..=max).prop_map(|number| format!("{number:o}")).boxed(),
        Kind::Bytes { min, max } => (min..=max).prop_map(|bytes| bytes.to_string()).boxed(),
        Kind::BytesOrPercent => prop_oneof!["[0-9]{1,12}(kb|m)?", "[1-9]?[0-9]%"].boxed(),
        Kind::Bool => prop::sample::select(vec!["yes".to_owned(), "no".into()]).boxed(),
        Kind::Enum(names) | Kind::Flags(names) => {
            prop::sample::select(names).prop_map(str::to_owned).boxed()
        }
        Kind::Text | Kind::List => "\\PC{0,20}".boxed(),
        Kind::Numbers { count_max, min, max, .. } => {
            let numbers = prop::collection::vec(min..=max, count_max);
            numbers.prop_map(|n| n.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")).boxed()
        }
        Kind::Percentiles => "([0-9]{1,2}(\\.[0-9]{1,5})? ){0,3}".boxed(),
        Kind::SavePoints => "([1-9][0-9]{0,4} [0-9]{1,4} ){0,3}".boxed(),
        Kind::OutputBufferLimits => {
            "((normal|replica|slave|pubsub) [0-9]{1,9} [0-9]{1,5}mb [0-9]{1,4} ){0,3}".boxed()
        }
        Kind::Policy => prop_oneof![
            "[0-9]{1,4}",
            "[0-9]{1,2} [0-9]{1,2}",
            "[0-9]{1,6}(kb|mb)?",
            "off|dryrun|manual|auto|always|never|inherit|finish|abort|thread|all|UTC|Europe/Berlin",
            "(mon-fri|sat,sun|daily) [01][0-9]:00-2[0-3]:30",
        ]
        .boxed(),
        Kind::KeyspaceEvents => "[Ag$lshzxeKEtmdn]{0,6}".boxed(),
    }
}

proptest! {
    #[test]
    fn a_rewritten_file_gives_the_same_configuration(
        lines in prop::collection::vec(a_line(), 0..12),
        changes in prop::collection::vec(a_line(), 0..8),
    ) {
        let mut text = String::from("# head\n");
        for (directive, value) in &lines {
            let line = format!("{} {}\n", directive.name, arguments::quote_always(value));
            if Config::from_text(&line).is_ok() {
                text.push_str(&line);
            }
        }
        let mut config = read(&text);
        for (directive, value) in &changes {
            let _ = config.set(&[(directive.name, value)]);
        }
        let new = String::from_utf8(config.rewritten(text.as_bytes())).unwrap();
        prop_assert!(new.starts_with("# head\n"));
        prop_assert_eq!(&read(&new).values, &config.values, "{}", new);
        prop_assert_eq!(config.rewritten(new.as_bytes()), new.as_bytes());
    }

    #[test]
    fn get_and_set_agree((directive, value) in a_line()) {
        let mut config = Config::default();
        if config.set(&[(directive.name, &value)]).is_ok() {
            let got = shown(&config, directive.name);
            let before = config.clone();
            let again = config.set(&[(directive.name, &got)]);
            prop_assert!(again.is_ok_and(|changed| changed.is_empty()), "{}", got);
            prop_assert_eq!(config, before);
        }
    }

    #[test]
    fn garbage_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        words in prop::collection::vec("\\PC{0,12}|--[a-z-]{0,12}", 0..6),
        (directive, _) in a_line(),
        word in "\\PC{0,30}",
    ) {
        let mut config = Config::default();
        let _ = load::Loader::new(&mut config).load(&bytes, None);
        let _ = config.rewritten(&bytes);
        let _ = config.set(&[(directive.name, &word)]);
        let _ = config.set(&[(&word, directive.name)]);
        let _ = config.get(&[&word]);
        let _ = Startup::parse(&words, &mut &bytes[..]);
        let _ = Config::from_text(&format!("{} {word}", directive.name));
    }
}
