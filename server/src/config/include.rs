//! Paths that match the pattern of an `include` line.

use std::fs;
use std::path::{Component, Path, PathBuf};

use ballast_protocol::glob::glob_match;

/// Paths of one pattern are no more than this.
const PATHS_MAX: usize = 10_000;

/// The files a pattern names, sorted. A path without wildcards is returned as it is, whether it
/// exists or not; a pattern that matches nothing gives nothing.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str();
        let is_pattern = matches!(component, Component::Normal(_)) && has_wildcard(name);
        found = match is_pattern {
            false => found.into_iter().map(|path| path.join(name)).collect(),
            true => found.iter().flat_map(|path| matching(path, name.as_encoded_bytes())).collect(),
        };
        found.truncate(PATHS_MAX);
    }
    found.sort();
    if has_wildcard(pattern.as_os_str()) {
        found.retain(|path| path.exists());
    }
    found
}

fn has_wildcard(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// The entries of a directory whose names match; hidden ones only if the pattern says so.
fn matching(directory: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let here = Path::new(".");
    let listed = if directory.as_os_str().is_empty() { here } else { directory };
    let Ok(entries) = fs::read_dir(listed) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    names
        .filter(|name| pattern.starts_with(b".") || !name.as_encoded_bytes().starts_with(b"."))
        .filter(|name| glob_match(pattern, name.as_encoded_bytes()))
        .map(|name| directory.join(name))
        .take(PATHS_MAX)
        .collect()
}
