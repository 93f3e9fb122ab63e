//! The copies of documents that an instance keeps on disk (CONTRACT 8.3), for a start while their sources are away. Every
//! file is whole at any moment: it is written beside its place, synced and renamed. A document is found by its own key,
//! so a torn index hides nothing; a torn document counts as never seen, and the next load writes it again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::contract::entries::{Entry, file_name};

/// Name prefix of files that are being written.
const UNFINISHED: &str = ".unfinished-";
/// After this, an unfinished file belongs to a process that has died.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The copies could not be written. The instance works without them.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory.
    #[error("{} can't be written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A document can't be turned into JSON.
    #[error("a document can't be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The task that writes has ended early.
    #[error("the task that writes the cache has ended early")]
    Task(#[from] tokio::task::JoinError),
}

/// The directory of one instance.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    directory: PathBuf,
}

/// What is to be on disk.
pub(super) struct Contents {
    index: Vec<u8>,
    /// File name and text.
    documents: Vec<(String, Vec<u8>)>,
}

impl Cache {
    /// Instances never share a directory, so its name holds what tells them apart.
    pub(super) fn new(root: &Path, instance_name: &str, base_url: &str) -> Self {
        Self { directory: root.join(format!("{instance_name}-{:.8x}", Sha256::digest(base_url))) }
    }

    /// The copy under a key; `None` if there is none, or none that can be read.
    pub(super) fn read(&self, cache_key: &str) -> Option<Value> {
        let path = self.documents().join(file_name(cache_key));
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a cached document can't be read");
                return None;
            }
        };
        let parsed = serde_json::from_slice(&text);
        parsed.map_err(|error| tracing::warn!(path = %path.display(), %error, "a cached document is torn")).ok()
    }

    /// Writes everything, the index last, and takes away what is not in it.
    pub(super) fn write(&self, contents: &Contents) -> Result<(), StoreError> {
        let documents = self.documents();
        fs::create_dir_all(&documents).map_err(at(&documents))?;
        for (name, text) in &contents.documents {
            put(&documents, name, text)?;
        }
        sync(&documents)?;
        put(&self.directory, "index.json", &contents.index)?;
        sync(&self.directory)?;
        let kept: BTreeSet<&str> = contents.documents.iter().map(|(name, _)| name.as_str()).collect();
        prune(&documents, &kept)?;
        prune(&self.directory, &BTreeSet::from(["index.json"]))
    }

    fn documents(&self) -> PathBuf {
        self.directory.join("schemas")
    }
}

impl Contents {
    pub(super) fn of(entries: &[Entry<'_>]) -> Result<Self, StoreError> {
        let mut listed = Map::new();
        let mut documents = Vec::new();
        for entry in entries {
            documents.push((entry.file_name.clone(), serde_json::to_vec(entry.original)?));
            let mut head = serde_json::to_value(entry)?;
            if let Some(head) = head.as_object_mut() {
                head.shift_remove("schema");
            }
            listed.insert(entry.cache_key.clone(), head);
        }
        let updated_at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let index = serde_json::to_vec(&json!({"updated_at": updated_at, "entries": listed}))?;
        Ok(Self { index, documents })
    }
}

/// Puts a file in its place in one step.
fn put(directory: &Path, name: &str, text: &[u8]) -> Result<(), StoreError> {
    let path = directory.join(name);
    let write = || {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)
    };
    write().map(drop).map_err(at(&path))
}

/// Makes the renames in a directory durable.
fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))
}

/// Takes away documents that no entry names, and what a process that died has left unfinished.
fn prune(directory: &Path, kept: &BTreeSet<&str>) -> Result<(), StoreError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let document = name.ends_with(".json") && !kept.contains(name);
        if document || (name.starts_with(UNFINISHED) && is_abandoned(&path)) {
            match fs::remove_file(&path) {
                // Another process of this instance was quicker.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(at(&path))?,
            }
        }
    }
    Ok(())
}

fn is_abandoned(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|file| file.modified());
    written.is_ok_and(|written| SystemTime::now().duration_since(written).is_ok_and(|age| age > ABANDONED))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { path, source }
}
