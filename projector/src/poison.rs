//! Which failures are the event's own fault. Only those hold a stream back; everything else (disk full, lock time-out, lost
//! connection) is tried again, for ever if need be: skipping an event because the disk was full would lose it.

use tokio_postgres::error::SqlState;

/// What a failed fold means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A row has no partition to go to.
    MissingPartition,
    /// The data can't be folded, however often it is tried.
    Data,
    /// Not the data's fault.
    Again,
}

pub(crate) fn judge(error: &tokio_postgres::Error) -> Verdict {
    let Some(database) = error.as_db_error() else { return Verdict::Again };
    // A check that failed names its constraint; a row without a partition has none to name.
    if *database.code() == SqlState::CHECK_VIOLATION && database.constraint().is_none() {
        return Verdict::MissingPartition;
    }
    match database.code().code().get(..2) {
        Some("21" | "22" | "23" | "54") => Verdict::Data,
        _ => Verdict::Again,
    }
}

/// What is written down about it. The primary message only: details show whole rows, private values among them.
pub(crate) fn describe(error: &tokio_postgres::Error) -> (String, String) {
    error.as_db_error().map_or_else(
        || (String::new(), "no answer from the database".to_owned()),
        |database| (database.code().code().to_owned(), database.message().to_owned()),
    )
}
