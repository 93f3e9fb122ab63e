//! Where the documents of a contract come from.

use std::path::PathBuf;

use super::Contracts;
use super::documents::Documents;
use super::load::LoadOptions;
use super::report::{Problem, Warning};

/// Reads the documents of a contract.
#[derive(Debug)]
pub struct Source {
    file: PathBuf,
    options: LoadOptions,
}

/// Why documents are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The process starts.
    Boot,
    /// Somebody asked for it.
    Refetch,
}

/// A contract and what it was made from.
#[derive(Debug)]
pub struct Loaded {
    /// The documents.
    pub documents: Documents,
    /// What they make.
    pub contracts: Contracts,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
}

/// Why there is no contract.
#[derive(Debug)]
pub enum LoadError {
    /// A document can't be had.
    Fetch(Vec<Problem>),
    /// A document is refused.
    Invalid(Vec<Problem>),
}

impl Source {
    /// A local file.
    #[must_use]
    pub fn new(file: PathBuf, options: LoadOptions) -> Self {
        Self { file, options }
    }

    /// Loads and checks everything aside.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(&self, _last_good: Option<&Documents>, _at: At) -> Result<Loaded, LoadError> {
        let documents = Documents::read_file(&self.file).map_err(LoadError::Fetch)?;
        let (contracts, warnings) = Contracts::build(documents.clone(), &self.options).map_err(LoadError::Invalid)?;
        Ok(Loaded { documents, contracts, warnings })
    }
}
