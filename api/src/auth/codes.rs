//! One-time codes (CONTRACT 10.2 and 10.3, trap 38): random, short-lived, five guesses, stored as a keyed hash.

use dpg_eventstore::{Client, Transaction};
use rand::Rng;
use subtle::ConstantTimeEq;

use super::error::StoreError;
use super::identifier::Identifier;
use super::queries;
use super::token::Signer;

/// Seconds that a code lives.
const LIFETIME: f64 = 300.0;
/// Guesses per code.
const GUESSES: i32 = 5;

/// The clear text of a code.
pub(super) fn random() -> String {
    // The thread's generator is a cryptographic one.
    format!("{:06}", rand::rng().random_range(0..1_000_000))
}

/// Stores a code; it takes the place of the last one.
pub(super) async fn store(
    client: &Client,
    signer: &Signer,
    identifier: &Identifier,
    code: &str,
) -> Result<(), StoreError> {
    let hash = signer.code_hash(identifier.as_str(), code);
    client.execute(queries::STORE_CODE, &[&identifier.as_str(), &hash.as_slice(), &LIFETIME]).await?;
    Ok(())
}

/// Voids a code that could not be delivered.
pub(super) async fn void(
    client: &Client,
    signer: &Signer,
    identifier: &Identifier,
    code: &str,
) -> Result<(), StoreError> {
    let hash = signer.code_hash(identifier.as_str(), code);
    client.execute(queries::VOID_CODE, &[&identifier.as_str(), &hash.as_slice()]).await?;
    Ok(())
}

/// Counts a guess and says whether it was right; a right one uses the code up. The caller commits in either case: a wrong
/// guess that is rolled back was never counted.
pub(super) async fn guess(
    transaction: &Transaction<'_>,
    signer: &Signer,
    identifier: &Identifier,
    code: &str,
) -> Result<bool, StoreError> {
    let counted = transaction.query_opt(queries::COUNT_GUESS, &[&identifier.as_str(), &GUESSES]).await?;
    let Some(row) = counted else { return Ok(false) };
    let expected: &[u8] = row.try_get("code_hash")?;
    let right: bool = signer.code_hash(identifier.as_str(), code).as_slice().ct_eq(expected).into();
    if right {
        transaction.execute(queries::CONSUME_CODE, &[&identifier.as_str()]).await?;
    }
    Ok(right)
}
