//! Where the files of the append-only file are, and how its manifest is replaced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::manifest::{MANIFEST_BYTES_MAX, Manifest, Part};
use crate::config::Config;

/// What the names of files begin with that are not complete.
pub(super) const UNFINISHED: &str = "temp-";

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Of all its files.
    pub(super) directory: PathBuf,
    /// What their names begin with.
    pub(super) stem: String,
}

impl Place {
    /// Where the configuration wants it.
    pub(super) fn of(config: &Config) -> Place {
        let directory = config.dir.join(&config.appenddirname);
        Place { directory, stem: config.appendfilename.clone() }
    }

    /// Where a file is.
    pub(super) fn path(&self, part: &Part) -> PathBuf {
        self.directory.join(&part.name)
    }

    /// Where the manifest is.
    pub(super) fn manifest_path(&self) -> PathBuf {
        self.directory.join(format!("{}.manifest", self.stem))
    }

    /// Makes the directory, if it is not there.
    pub(super) fn make_directory(&self) -> io::Result<()> {
        match fs::create_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Removes what a process has left that was ended while it made a file.
    pub(super) fn remove_unfinished(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_unfinished = name.to_string_lossy().starts_with(UNFINISHED);
            if is_unfinished {
                // It is in nobody's way if it stays.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The manifest, empty if there is none.
    pub(super) fn read_manifest(&self) -> io::Result<Manifest> {
        let file = match File::open(self.manifest_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Manifest::default());
            }
            opened => opened?,
        };
        let mut text = String::new();
        file.take(MANIFEST_BYTES_MAX).read_to_string(&mut text)?;
        Manifest::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Replaces the manifest: whoever looks finds the old one or the new one, also after a crash.
    pub(super) fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let temporary = self.directory.join(format!("{UNFINISHED}{}.manifest", self.stem));
        let mut file = File::create(&temporary)?;
        file.write_all(manifest.render().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.manifest_path())?;
        // New names are on disk when the directory is.
        File::open(&self.directory)?.sync_all()
    }
}
