//! Every script of `scripts/`, against the installed Redis (which checks the expectations) and
//! against Ballast. `RECORD=1` writes the expectations from Redis instead of checking them.

use std::fs;
use std::path::{Path, PathBuf};

use ballast_server::Server;
use ballast_tests::script::{Asked, Failure, Runner, Script};
use ballast_tests::support::{InProcess, Kind, Process, redis_version};

/// The expectations are those of this line of Redis.
const REDIS_VERSION: &str = "7.0.";

#[test]
fn redis_answers_as_expected() {
    let record = std::env::var_os("RECORD").is_some();
    if !redis_version().is_some_and(|version| version.starts_with(REDIS_VERSION)) {
        assert!(!record, "recording wants redis-server {REDIS_VERSION}x");
        eprintln!("no redis-server {REDIS_VERSION}x: the expectations themselves go unchecked");
        return;
    }
    let mut failures = Failures::default();
    for (path, mut script) in scripts() {
        if script.skip_redis.is_some() {
            continue;
        }
        let own = script.redis_args.iter().map(String::as_str);
        let args: Vec<&str> = script.arg_strs().into_iter().chain(own).collect();
        let server = Process::start(&Kind::Redis, &args).expect("redis-server starts");
        if record {
            Runner::record(&server, &mut script);
            fs::write(&path, script.text()).expect("the script can be written");
        } else {
            failures.add(&path, &script, &Runner::check(&server, &script, Asked::Redis));
        }
    }
    failures.report("redis-server");
}

#[test]
fn ballast_answers_as_expected_with_one_shard() {
    ballast_answers_as_expected(1);
}

#[test]
fn ballast_answers_as_expected_with_three_shards() {
    ballast_answers_as_expected(3);
}

/// Without a process between: what a program that embeds the server gets.
#[test]
fn ballast_answers_as_expected_in_process() {
    let mut failures = Failures::default();
    for (path, script) in scripts().into_iter().filter(|(_, script)| script.args.is_empty()) {
        if !is_pending(&path) {
            let server =
                InProcess::start(Server::builder().directive("shards", "2").directive("save", ""));
            failures.add(&path, &script, &Runner::check(&server, &script, Asked::Ballast));
        }
    }
    failures.report("ballast");
}

fn ballast_answers_as_expected(shards: usize) {
    let mut failures = Failures::default();
    for (path, script) in scripts() {
        let differences = match Process::start(&Kind::Ballast { shards }, &script.arg_strs()) {
            Ok(mut server) => {
                let mut differences = Runner::check(&server, &script, Asked::Ballast);
                if !server.is_running() {
                    let diff = server.log().lines().map(str::to_owned).collect();
                    differences.push(Failure { line: 0, diff });
                }
                differences
            }
            Err(error) => vec![Failure { line: 0, diff: vec![error.to_string()] }],
        };
        if !is_pending(&path) {
            failures.add(&path, &script, &differences);
        } else if differences.is_empty() && shards > 1 {
            let name = name(&path);
            failures.add_text(&format!("{name} passes: take it off the list of pending scripts\n"));
        }
    }
    failures.report("ballast");
}

/// Whether the script stands on the list of those that Ballast does not pass yet, a list that may
/// only get shorter. One that is asked for by name is checked all the same.
fn is_pending(path: &Path) -> bool {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/PENDING");
    let list = fs::read_to_string(list).unwrap_or_default();
    list.lines().any(|line| line == name(path)) && std::env::var_os("SCRIPT").is_none()
}

/// The path below `scripts/`.
fn name(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// The scripts in order; `SCRIPT=part/of/the/path` picks some of them.
fn scripts() -> Vec<(PathBuf, Script)> {
    let wanted = std::env::var("SCRIPT").unwrap_or_default();
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"), &mut paths);
    paths.retain(|path| path.to_string_lossy().contains(&wanted));
    paths.sort();
    assert!(!paths.is_empty(), "no script to run");
    let parse = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a readable script");
        let script = Script::parse(&text);
        let script = script.unwrap_or_else(|why| panic!("{}:{why}", path.display()));
        (path, script)
    };
    paths.into_iter().map(parse).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
}

#[derive(Default)]
struct Failures {
    text: String,
    files: usize,
    blocks: usize,
    blocks_run: usize,
    commands: usize,
}

impl Failures {
    fn add(&mut self, path: &Path, script: &Script, failures: &[Failure]) {
        self.commands += script.commands_len();
        self.blocks_run += script.blocks.len();
        self.blocks += failures.len();
        self.files += usize::from(!failures.is_empty());
        for failure in failures {
            self.add_text(&format!("{} {failure}", name(path)));
        }
    }

    fn add_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn report(&self, server: &str) {
        let Failures { text, files, blocks, blocks_run, commands } = self;
        println!("{server}: {blocks_run} blocks, {commands} commands");
        assert!(
            text.is_empty(),
            "{text}{server} answers {blocks} of {blocks_run} blocks differently, in {files} files"
        );
    }
}
