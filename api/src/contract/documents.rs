//! What a contract is made from: the documents as they were read. From them the same contract can be built again without
//! any network, in another process or after a restart.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::report::Problem;

/// Every document that a contract is made from. Key order is kept, because user interfaces read it (CONTRACT 7).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Documents {
    /// The network documents, in the order of loading.
    pub networks: Vec<NetworkDocument>,
    /// What they name by URL (`$ref`, custom schemas), by absolute URL without fragment.
    pub named: BTreeMap<String, Value>,
}

/// One network document as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkDocument {
    /// Where it was fetched; none for a local one.
    pub fetched_from: Option<String>,
    /// The document, untouched.
    pub document: Value,
}

impl NetworkDocument {
    /// A document that was not fetched.
    #[must_use]
    pub fn local(document: Value) -> Self {
        Self { fetched_from: None, document }
    }
}

impl Documents {
    /// Local documents that name no others.
    #[must_use]
    pub fn local(documents: Vec<Value>) -> Self {
        Self { networks: documents.into_iter().map(NetworkDocument::local).collect(), named: BTreeMap::new() }
    }

    /// Reads a file that holds one network document, or an array of them.
    ///
    /// # Errors
    /// When it can't be read, or is no JSON.
    pub fn read_file(path: &Path) -> Result<Self, Vec<Problem>> {
        let refuse = |message: String| vec![Problem { path: String::new(), message }];
        let text = std::fs::read(path).map_err(|error| refuse(format!("{} can't be read: {error}", path.display())))?;
        let json: Value = serde_json::from_slice(&text)
            .map_err(|error| refuse(format!("{} is not JSON: {error}", path.display())))?;
        Ok(match json {
            Value::Array(documents) => Self::local(documents),
            document => Self::local(vec![document]),
        })
    }
}
