//! Where settings come from: the process's environment, and under it the `.env` file of the working directory.

use std::collections::HashMap;
use std::path::Path;

use super::Problem;

/// The variables of this process. What the environment says wins over `.env`.
#[derive(Default)]
pub struct Environment {
    file: HashMap<String, String>,
}

impl Environment {
    /// Reads `.env` in the working directory, if there is one.
    ///
    /// # Errors
    /// When the file is there and can't be read. The message never repeats its text.
    pub fn load() -> Result<Self, Problem> {
        Self::with_file(Path::new(".env"))
    }

    /// Reads this file, if it is there.
    ///
    /// # Errors
    /// As [`Environment::load`].
    pub fn with_file(path: &Path) -> Result<Self, Problem> {
        let lines = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines,
            Err(error) if error.not_found() => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error)),
        };
        // The first assignment of a name holds, as with the environment itself.
        let mut file = HashMap::new();
        for line in lines {
            let (name, value) = line.map_err(|error| unreadable(&error))?;
            file.entry(name).or_insert(value);
        }
        Ok(Self { file })
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        match std::env::var_os(name) {
            // What is not UTF-8 fits no setting and is refused by its rule.
            Some(text) => Some(text.to_string_lossy().into_owned()),
            None => self.file.get(name).cloned(),
        }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The values may be secrets.
        f.debug_struct("Environment").field("names", &self.file.keys()).finish()
    }
}

fn unreadable(error: &dotenvy::Error) -> Problem {
    let message = match error {
        // Its own message repeats the line, which may hold a secret.
        dotenvy::Error::LineParse(..) => "a line could not be read".to_owned(),
        dotenvy::Error::Io(error) => format!("could not be read: {error}"),
        _ => "could not be read".to_owned(),
    };
    Problem { variable: ".env".to_owned(), message }
}
