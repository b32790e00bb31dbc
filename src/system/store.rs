//! What the box has found out and keeps across restarts: one small file a fact.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A directory of facts. A fact is written whole or not at all, and survives a cut of power once
/// [`Store::write`] has returned.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Facts in `dir`, which is made when the first is written.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// A fact, if it is known and readable.
    pub fn read(&self, fact: &str) -> Option<String> {
        fs::read_to_string(self.path(fact)).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Remembers a fact.
    ///
    /// # Errors
    /// When the directory cannot be written; the earlier value then stands.
    pub fn write(&self, fact: &str, value: &str) -> io::Result<()> {
        self.write_for(0o644, fact, value)
    }

    /// Remembers what nobody but the program's own user may read.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_private(&self, fact: &str, value: &str) -> io::Result<()> {
        self.write_for(0o600, fact, value)
    }

    fn write_for(&self, mode: u32, fact: &str, value: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let (whole, partial) = (self.path(fact), self.path(&format!("{fact}.new")));
        // One that was left behind would keep its own mode.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&partial)?;
        writeln!(file, "{value}")?;
        file.sync_all()?;
        fs::rename(&partial, &whole)?;
        // The rename itself lives in the directory.
        File::open(&self.dir)?.sync_all()
    }

    /// Where a fact is, for people.
    pub fn path(&self, fact: &str) -> PathBuf {
        Path::join(&self.dir, fact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_kept_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("state"));
        assert_eq!(store.read("vmix-host"), None);
        store.write("vmix-host", "10.0.0.1").unwrap();
        store.write("vmix-host", "10.0.0.2").unwrap();
        assert_eq!(store.read("vmix-host").as_deref(), Some("10.0.0.2"));
        let files: Vec<_> = fs::read_dir(dir.path().join("state")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(files, ["vmix-host"]);
    }

    #[test]
    fn a_secret_is_for_its_owner_alone_whatever_was_left_behind() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key.new"), "left behind").unwrap();
        let store = Store::new(dir.path());
        store.write_private("key", "secret").unwrap();
        let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, store.read("key").as_deref()), (0o600, Some("secret")));
    }

    #[test]
    fn a_half_written_fact_of_an_earlier_life_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.write("vmix-host", "10.0.0.1").unwrap();
        fs::write(dir.path().join("vmix-host.new"), "10.0").unwrap();
        assert_eq!(store.read("vmix-host").as_deref(), Some("10.0.0.1"));
        store.write("vmix-host", "10.0.0.3").unwrap();
        assert_eq!(store.read("vmix-host").as_deref(), Some("10.0.0.3"));
    }
}
