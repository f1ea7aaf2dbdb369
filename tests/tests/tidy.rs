//! Keeps the rules that no compiler keeps: sizes, names, order of dependencies, licences.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 100;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];

/// Crates that hold no unsafe code at all.
const SAFE_CRATES: &[&str] = &["protocol", "balancer", "server"];

/// Which crates of this workspace a crate may stand on.
const LAYERS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("balancer", &[]),
    ("storage", &["ballast-protocol"]),
    ("server", &["ballast-protocol", "ballast-storage", "ballast-balancer"]),
];

/// Files of the server that are compiled for tests only.
const TEST_MODULES: &[&str] =
    &["config/tests.rs", "connection/simulation/mod.rs", "shard/model.rs", "shard/protocol.rs"];

/// The layers of the server, lowest first: a module uses its own layer and what stands below it.
const SERVER_LAYERS: &[&[&str]] = &[
    &["ids", "clock", "log", "config"],
    &["node"],
    &["engine"],
    &["files"],
    &["commands"],
    &["shard"],
    &["connection"],
    &["server", "control", "loading", "appending", "rebalance"],
    &["cli"],
];

/// Licences that a dependency may have; a package that offers a choice needs one of them.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn rust_files_are_short_and_introduce_themselves() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        let excepted = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if lines > FILE_LINES_MAX && !excepted {
            faults.push(format!("{}: {lines} lines", file.path));
        }
        for (index, line) in file.text.lines().enumerate() {
            let chars = line.chars().count();
            if chars > LINE_CHARS_MAX {
                faults.push(format!("{}:{}: {chars} characters", file.path, index + 1));
            }
        }
        if !file.text.starts_with("//!") {
            faults.push(format!("{}: does not begin with its own description", file.path));
        }
    }
    for (path, reason) in LONG_FILES {
        assert!(!reason.is_empty() && root().join(path).exists(), "a stale exception: {path}");
    }
    none(&faults);
}

#[test]
fn files_are_named_by_what_they_hold() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let parts = Path::new(&file.path).iter().filter_map(|part| part.to_str());
        for part in parts {
            if EMPTY_NAMES.contains(&part.trim_end_matches(".rs")) {
                faults.push(format!("{}: what is in {part}?", file.path));
            }
        }
    }
    none(&faults);
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    // Put together here, so that this file does not find itself.
    let marks = ["todo", "unimplemented"].map(|name| format!("{name}!("));
    let marks = marks.into_iter().chain([["FIX", "ME"].concat(), ["#[ign", "ore"].concat()]);
    let marks: Vec<String> = marks.collect();
    let sleep = ["sle", "ep("].concat();
    let mut faults = Vec::new();
    for file in rust_files() {
        let mut in_tests = file.path.contains("tests/") || file.path.ends_with("tests.rs");
        for (index, line) in file.text.lines().enumerate() {
            in_tests |= line.contains("#[cfg(test)]");
            for mark in marks.iter().filter(|mark| line.contains(*mark)) {
                faults.push(format!("{}:{}: {mark}", file.path, index + 1));
            }
            if in_tests && line.contains(&sleep) {
                faults.push(format!("{}:{}: a test that sleeps", file.path, index + 1));
            }
        }
    }
    none(&faults);
}

#[test]
fn unsafe_code_stays_in_storage() {
    for name in SAFE_CRATES {
        let path = root().join(name).join("src/lib.rs");
        let text = fs::read_to_string(&path).expect("the crate has a lib.rs");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name}/src/lib.rs allows unsafe code");
    }
}

#[test]
fn crates_depend_downwards_only() {
    for (name, allowed) in LAYERS {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        // What a crate's own tests use is no layer.
        let text = text.split("[dev-dependencies]").next().unwrap_or_default();
        for line in text.lines().filter(|line| line.starts_with("ballast-")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(allowed.contains(&dependency), "{name} must not know {dependency}");
        }
    }
}

#[test]
fn no_import_of_the_server_runs_back_up() {
    let layer = |module: &str| SERVER_LAYERS.iter().position(|layer| layer.contains(&module));
    let mut faults = Vec::new();
    let mut looked_at = 0;
    for file in rust_files() {
        let Some(path) = file.path.strip_prefix("server/src/") else { continue };
        let module = path.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = layer(module) else {
            let is_top = matches!(module, "lib" | "main");
            assert!(is_top, "server/src/{path} is in no layer: add it to SERVER_LAYERS");
            continue;
        };
        looked_at += 1;
        // Tests of a layer may look at it from above.
        let text = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for used in code.split("crate::").skip(1) {
                let name = used.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                let used = layer(name.unwrap_or_default());
                if used.is_some_and(|used| used > own) && !TEST_MODULES.contains(&path) {
                    faults.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
                }
            }
        }
    }
    assert!(looked_at > 100, "the server is not where this test looks for it");
    none(&faults);
}

#[test]
fn no_path_of_a_machine_is_kept() {
    let paths = ["work", "tmp", "root", "home"].map(|name| format!("/{name}/"));
    let mut faults = Vec::new();
    for file in text_files() {
        for (index, line) in file.text.lines().enumerate() {
            for path in paths.iter().filter(|path| line.contains(*path)) {
                faults.push(format!("{}:{}: {path}", file.path, index + 1));
            }
        }
    }
    none(&faults);
}

/// `cargo metadata` knows every package that a build on this platform or another could use.
#[test]
fn dependencies_have_licences_we_can_pass_on() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(!packages.is_empty());
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence) {
            faults.push(format!("{name}: {licence:?}"));
        }
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+https://github.com/rust-lang/crates.io-index")
        {
            faults.push(format!("{name}: from {source}"));
        }
    }
    none(&faults);
}

#[test]
fn cargo_deny_is_told_the_same_licences() {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let list = text.split("allow = [").nth(1).and_then(|rest| rest.split(']').next());
    let list: Vec<&str> = list.unwrap_or_default().split('"').skip(1).step_by(2).collect();
    assert_eq!(list, LICENCES);
}

#[test]
fn a_licence_expression_is_read_right() {
    for allowed in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND Unicode-3.0"] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND AGPL-3.0"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

/// Whether the SPDX expression can be met with `LICENCES`: every `AND` part, one of its `OR`s.
fn is_allowed(expression: &str) -> bool {
    let (mut depth, mut start) = (0_usize, 0);
    let mut parts = Vec::new();
    let normal = expression.replace('/', " OR ");
    for (at, byte) in normal.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && normal[at..].starts_with(" AND ") => {
                parts.push(normal[start..at].to_owned());
                start = at + " AND ".len();
            }
            _ => {}
        }
    }
    parts.push(normal[start..].to_owned());
    parts.iter().all(|part| {
        let choices = part.trim_matches(['(', ')', ' ']).split(" OR ");
        choices.map(str::trim).any(|choice| LICENCES.contains(&choice))
    })
}

struct File {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files() -> impl Iterator<Item = File> {
    text_files().into_iter().filter(|file| file.path.ends_with(".rs"))
}

/// Every text file of the tree but what is built and what git keeps.
fn text_files() -> Vec<File> {
    let mut paths = BTreeSet::new();
    collect(&root(), &mut paths);
    assert!(paths.len() > 10, "the tree is not where this test looks for it");
    let read = |path: PathBuf| {
        let text = String::from_utf8(fs::read(&path).ok()?).ok()?;
        let path = path.strip_prefix(root()).ok()?.to_str()?.to_owned();
        Some(File { path, text })
    };
    paths.into_iter().filter_map(read).collect()
}

fn collect(directory: &Path, paths: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().unwrap_or_default();
        if name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            collect(&path, paths);
        } else {
            paths.insert(path);
        }
    }
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_walks_name_functions_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    let walks = text.split("\n## ").find(|section| section.starts_with("Five walks"));
    let walks = walks.expect("a new reader's walks");
    let mut named = 0;
    for step in walks.split('`').filter(|word| word.contains(".rs::")) {
        let (file, function) = step.split_once("::").expect("a file and a function");
        let path = root().join("server/src").join(file);
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let defines = ["(", "<"].map(|after| format!("fn {function}{after}"));
        assert!(defines.iter().any(|define| source.contains(define)), "{step} is not there");
        named += 1;
    }
    assert!(named > 20, "{named} functions are named");
    for walk in walks.split("\n\n").filter(|part| part.contains("\n1. ")) {
        assert!(walk.lines().count() <= 11, "a walk of more than ten lines:\n{walk}");
    }
}
