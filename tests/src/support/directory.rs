//! A directory for the files of a server, that goes with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty directory of its own. What is in it is removed when this is dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Default for Directory {
    fn default() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ballast-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Directory(path)
    }
}

impl Directory {
    /// Makes one.
    ///
    /// # Panics
    /// If the system refuses it.
    #[must_use]
    pub fn new() -> Directory {
        Directory::default()
    }

    /// Where it is, for a directive.
    ///
    /// # Panics
    /// If that is no text.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path of text")
    }

    /// Where a file of it is, or would be.
    #[must_use]
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// The names of the files in it, or in a directory below, in order.
    ///
    /// # Panics
    /// If that directory is not there.
    #[must_use]
    pub fn names(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(below)).expect("a directory");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_name().into_string().expect("a name of text")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
