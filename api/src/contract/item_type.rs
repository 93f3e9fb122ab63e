//! One type of item that can be created here: its schema, where that schema is found, and what of it is private.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::private::Privacy;
use super::self_contained::SelfContained;
use super::validator::{CompileError, Validator};
use crate::http::Fault;

/// An item type, compiled once per contract.
#[derive(Debug)]
pub struct ItemType {
    name: String,
    schema_url: String,
    schema: Value,
    validator: Validator,
    privacy: Privacy,
    /// SHA-256 of the schema that `privacy` was read from.
    fingerprint: Vec<u8>,
}

impl ItemType {
    pub(super) fn compile(
        name: &str,
        schema_url: String,
        schema: &SelfContained,
        allow_extra: bool,
    ) -> Result<Self, CompileError> {
        Ok(Self {
            name: name.to_owned(),
            schema_url,
            schema: schema.emitted.clone(),
            validator: Validator::compile(&schema.compiled, allow_extra)?,
            privacy: Privacy::of(&schema.compiled),
            fingerprint: Sha256::digest(schema.compiled.to_string()).to_vec(),
        })
    }

    /// The item type as the contract writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What goes out as `item_schema_url` (CONTRACT 8.1).
    pub fn schema_url(&self) -> &str {
        &self.schema_url
    }

    /// The schema as clients see it (CONTRACT 4.20).
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Faults of a whole state, public and private, with paths below `/item_state`.
    pub fn validate(&self, state: &Value) -> Vec<Fault> {
        if state.is_object() {
            self.validator.faults(state, "/item_state")
        } else {
            vec![Fault::new("/item_state", "must be an object")]
        }
    }

    /// The public and the private half of a state; [`merge`](super::merge) is the way back.
    pub fn split(&self, state: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
        self.privacy.split(state)
    }

    pub(super) fn privacy(&self) -> &Privacy {
        &self.privacy
    }

    /// Whether both split every state the same way, as far as their schemas tell without being understood.
    pub(super) fn splits_like(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}
