//! The append-only file: Redis 7's set of files, a base and the commands since then, that a
//! manifest names.

mod encode;
mod manifest;
mod place;
pub(crate) mod read;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod writer;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

pub use self::manifest::ManifestError;
use self::manifest::{Manifest, Part, Role};
use self::place::Place;
pub use self::read::ReadError;
use self::writer::{Writer, open_file};
use super::load::{LoadError, LoadReason};
use crate::config::{Config, system_reason};
use crate::node::Node;

/// Why the append-only file is not loaded. Its files are as they were.
#[derive(Debug, thiserror::Error)]
#[error(
    "Can't load the append-only file '{}': {reason}. Make a backup of it; redis-check-aof tells \
     more, and with --fix cuts what is behind the damage.",
    path.display()
)]
pub struct AppendError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: AppendReason,
}

/// What is wrong with the append-only file.
#[derive(Debug, thiserror::Error)]
pub enum AppendReason {
    /// The system does not give it.
    #[error("{}", system_reason(.0))]
    System(io::Error),
    /// The manifest.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// A file that the manifest names is not there.
    #[error("the manifest names it, and it is not there")]
    Missing,
    /// A snapshot.
    #[error("{0}")]
    Base(#[from] Box<LoadError>),
    /// A file of commands.
    #[error("{0}")]
    Commands(#[from] ReadError),
    /// The server is ending.
    #[error("the server is ending")]
    Ending,
    /// A command that cannot be repeated here.
    #[error("command '{command}' before byte {offset} fails: {error}")]
    Refused {
        /// Its name.
        command: String,
        /// The end of it.
        offset: u64,
        /// Why.
        error: String,
    },
}

impl AppendError {
    /// Whether the server was told to end while it loaded.
    pub(crate) fn is_of_the_end(&self) -> bool {
        match &self.reason {
            AppendReason::Ending => true,
            AppendReason::Base(base) => matches!(base.reason, LoadReason::Ending),
            _ => false,
        }
    }
}

/// The files that a manifest names.
pub(crate) struct Set {
    place: Place,
    manifest: Manifest,
}

impl Set {
    /// The files that are there, if there are any. A file of a Redis before 7 becomes the base of a
    /// set.
    ///
    /// # Errors
    /// If there is a manifest that means nothing, or names files that are not there.
    pub(crate) fn find(config: &Config) -> Result<Option<Set>, AppendError> {
        let place = Place::of(config);
        let manifest_path = place.manifest_path();
        let failed = |reason| AppendError { path: manifest_path.clone(), reason };
        let old_path = config.dir.join(&config.appendfilename);
        let text = match fs::read(&manifest_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match old_path.is_file() {
                    true => Set::adopt(place, &old_path).map(Some).map_err(AppendReason::System),
                    false => Ok(None),
                }
                .map_err(failed);
            }
            Err(error) => return Err(failed(AppendReason::System(error))),
            Ok(text) => text,
        };
        let manifest = Manifest::parse(&String::from_utf8_lossy(&text));
        let manifest = manifest.map_err(|error| failed(error.into()))?;
        for part in manifest.base().into_iter().chain(manifest.incremental()) {
            let path = place.path(part);
            if !path.is_file() {
                return Err(AppendError { path, reason: AppendReason::Missing });
            }
        }
        Ok(Some(Set { place, manifest }))
    }

    /// Makes a set of the one file of an older version.
    fn adopt(place: Place, old: &Path) -> io::Result<Set> {
        place.make_directory()?;
        let name = place.stem.clone();
        let manifest = Manifest::of(Part { name, number: 1, role: Role::Base });
        place.write_manifest(&manifest)?;
        fs::rename(old, place.directory.join(&place.stem))?;
        File::open(&place.directory)?.sync_all()?;
        Ok(Set { place, manifest })
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        let files = self.base().into_iter().chain(self.incremental());
        files.filter_map(|path| fs::metadata(path).ok()).map(|found| found.len()).sum()
    }

    /// Where the base is, if there is one.
    pub(crate) fn base(&self) -> Option<PathBuf> {
        self.manifest.base().map(|part| self.place.path(part))
    }

    /// Where the files of commands are, in order.
    pub(crate) fn incremental(&self) -> Vec<PathBuf> {
        self.manifest.incremental().map(|part| self.place.path(part)).collect()
    }
}

/// Whether a file begins as a snapshot does: a base may be one, or commands.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn starts_as_snapshot(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(SNAPSHOT.len() as u64).read_to_end(&mut start)?;
    Ok(start == SNAPSHOT)
}

/// What snapshots begin with.
const SNAPSHOT: &[u8] = b"REDIS";

/// Where a base is written before it is complete.
///
/// # Errors
/// If its directory cannot be made.
pub(crate) fn temporary_base(config: &Config) -> io::Result<PathBuf> {
    let place = Place::of(config);
    place.make_directory()?;
    let extension = if config.aof_use_rdb_preamble { "rdb" } else { "aof" };
    Ok(place.directory.join(format!("temp-rewriteaof-{}.{extension}", std::process::id())))
}

/// Starts the writer. It goes on with the files of `set`, or waits for a base if there are none.
///
/// # Errors
/// If a thread cannot be started, or the last file cannot be opened.
pub(crate) fn spawn(node: &Arc<Node>, set: Option<Set>) -> io::Result<JoinHandle<()>> {
    let receiver = node.append_only.take_receiver().expect("there is one writer");
    let writer = Writer::new(Arc::clone(node), receiver, set.map(|set| set.manifest), open_file)?;
    std::thread::Builder::new().name("ballast-append".into()).spawn(move || writer.run())
}
