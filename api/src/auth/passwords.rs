//! Passwords (CONTRACT 10.6 and 10.7): argon2id, two at a time. Each run takes 19 MiB and some tens of milliseconds of a
//! processor, so a crowd at the door must neither fill the memory nor starve everybody else: beyond a short queue the
//! answer is 503.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, Salt, SaltString};
use argon2::{Argon2, password_hash};
use prometheus::IntCounter;
use rand::RngCore;
use tokio::sync::Semaphore;

use crate::http::ApiError;

/// Characters that a password has at least.
pub(super) const SHORTEST: usize = 8;
/// Characters that a password has at most.
pub(super) const LONGEST: usize = 128;

/// Runs at once.
const AT_ONCE: usize = 2;
/// Runs at once and calls that may wait for one.
const PLACES: usize = 64;
/// How long a call waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The hash of no password, as costly as that of a new one.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why no password was hashed or compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum PasswordError {
    /// Too many calls wait, or this one has waited too long.
    #[error("too many passwords are being checked")]
    Busy,
    /// A stored hash can't be read. Without the crate's `std` feature its error can't be a source.
    #[error("argon2 failed: {0}")]
    Argon2(password_hash::Error),
    /// The thread ended.
    #[error("hashing a password was given up")]
    Ended(#[source] tokio::task::JoinError),
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::unavailable(),
            error => Self::internal(&error),
        }
    }
}

/// Hashes and compares passwords, for all requests of a process.
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    runs: IntCounter,
}

impl Passwords {
    pub(super) fn new() -> prometheus::Result<Self> {
        let runs = IntCounter::new("dpg_password_hashes_total", "Runs of argon2id, for sign-ups and sign-ins.")?;
        Ok(Self { turns: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::new(Semaphore::new(PLACES)), runs })
    }

    /// How often argon2id has run: the same for a wrong password and for an e-mail that nobody has.
    pub(super) fn runs(&self) -> &IntCounter {
        &self.runs
    }

    /// The hash of a new password, in PHC form.
    pub(super) async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.in_turn(move || {
            let mut random = [0_u8; Salt::RECOMMENDED_LENGTH];
            rand::rng().fill_bytes(&mut random);
            let salt = SaltString::encode_b64(&random)?;
            Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
        })
        .await
    }

    /// Whether a password is the one of a stored hash. Without a hash (nobody has the e-mail, or the account has no
    /// password) the work is the same and the answer is no.
    pub(super) async fn is_of(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        self.in_turn(move || compare(&password, hash.as_deref())).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.places.try_acquire().map_err(|_full| PasswordError::Busy)?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_elapsed| PasswordError::Busy)?.map_err(|_closed| PasswordError::Busy)?;
        self.runs.inc();
        // The turn goes with the work: a client that has gone away does not end it.
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        work.await.map_err(PasswordError::Ended)?.map_err(PasswordError::Argon2)
    }
}

/// One path for everybody, so that there is nothing to tell apart.
fn compare(password: &str, hash: Option<&str>) -> Result<bool, password_hash::Error> {
    let parsed = PasswordHash::new(hash.unwrap_or(DECOY))?;
    match Argon2::default().verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Ok(hash.is_some()),
        Err(password_hash::Error::Password) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_and_fits_its_password_alone() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        let cost = |hash: &str| hash.rsplitn(3, '$').nth(2).map(str::to_owned);
        assert_eq!(cost(&hash).as_deref(), Some("$argon2id$v=19$m=19456,t=2,p=1"));
        assert_eq!((cost(DECOY), DECOY.len()), (cost(&hash), hash.len()), "the decoy costs the same");
        assert_ne!(passwords.hash("correct horse".to_owned()).await.unwrap(), hash, "salted");
        assert!(passwords.is_of("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_of("correct horsf".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.is_of("correct horse".to_owned(), None).await.unwrap());
        assert_eq!(passwords.runs.get(), 5, "each of these is the same work");
        let unreadable = passwords.is_of("correct horse".to_owned(), Some("argon2id".to_owned())).await;
        assert!(matches!(unreadable, Err(PasswordError::Argon2(_))));
    }

    #[tokio::test]
    async fn beyond_the_queue_nobody_waits() {
        let passwords = Passwords::new().unwrap();
        let held = Arc::clone(&passwords.turns).acquire_many_owned(2).await.unwrap();
        let calls = join_all((0..PLACES + 10).map(|_| passwords.is_of("x".to_owned(), None)));
        let release = async {
            while passwords.places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            drop(held);
        };
        let (answers, ()) = tokio::join!(calls, release);
        let busy = answers.iter().filter(|answer| matches!(answer, Err(PasswordError::Busy))).count();
        // Those who were let in may have run out of patience on a slow machine; those who were not never waited.
        assert!((10..=PLACES + 10).contains(&busy), "{busy}");
        assert_eq!(usize::try_from(passwords.runs.get()).unwrap() + busy, PLACES + 10);
    }
}
