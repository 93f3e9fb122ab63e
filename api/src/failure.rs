//! Where the errors of the other rooms turn into refusals. What went wrong goes to the log; a 5xx body never says it.

use actix_web::http::StatusCode;
use dpg_eventstore::Chain;
use dpg_eventstore::append::AppendError;
use dpg_eventstore::read::ReadError;
use dpg_mirror::{MirrorError, OperatorError};

use crate::contract_versions::VersionError;
use crate::http::{ApiError, Fault};
use crate::queries::QueryError;

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match &error {
            AppendError::Rejected(_) => Self::internal(&error),
            AppendError::Partition(_) => {
                tracing::error!(error = %Chain(&error), "storage for a network could not be prepared");
                let message = "Storage for this network could not be prepared.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "PARTITION_SETUP_FAILED", message)
            }
            AppendError::QueueFull | AppendError::Unavailable | AppendError::Unknown | AppendError::Stopped => {
                tracing::warn!(error = %Chain(&error), "a write was not taken");
                Self::unavailable()
            }
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Database(_) => away(&error),
            ReadError::Sql(sql) => of_sql(sql, &error),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        of_query(&error)
    }
}

impl From<MirrorError> for ApiError {
    fn from(error: MirrorError) -> Self {
        match &error {
            MirrorError::Database(_) => away(&error),
            MirrorError::Sql(sql) => of_sql(sql, &error),
            MirrorError::Gap { .. } | MirrorError::MissingEvent { .. } | MirrorError::UnknownState(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<OperatorError> for ApiError {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::LaneNotFound => Self::new(StatusCode::NOT_FOUND, "LANE_NOT_FOUND", "There is no such lane."),
            OperatorError::ParkedNotFound => {
                Self::new(StatusCode::NOT_FOUND, "PARKED_NOT_FOUND", "There is no such parked event.")
            }
            OperatorError::StateConflict { network, state } => {
                let message = format!("The lane of {network} is {}.", state.as_str());
                Self::new(StatusCode::CONFLICT, "LANE_STATE_CONFLICT", message)
            }
            OperatorError::BeyondLastSeq => {
                Self::validation(vec![Fault::new("/since_seq", "is beyond the lane's last number")])
            }
            OperatorError::Body(error) => Self::internal(&error),
            OperatorError::Mirror(error) => error.into(),
        }
    }
}

fn of_query(error: &QueryError) -> ApiError {
    match error {
        QueryError::Database(_) | QueryError::TimedOut | QueryError::Queue => away(error),
        QueryError::Sql(sql) => of_sql(sql, error),
        QueryError::Shared(error) => of_query(error),
        QueryError::State(_) => ApiError::internal(error),
        QueryError::Cursor => ApiError::validation(vec![Fault::new("/cursor", "is not a cursor of this query")]),
    }
}

impl From<VersionError> for ApiError {
    fn from(error: VersionError) -> Self {
        match &error {
            VersionError::Database(_) => away(&error),
            VersionError::Sql(sql) => of_sql(sql, &error),
            _ => Self::internal(&error),
        }
    }
}

fn away(error: &(dyn std::error::Error + 'static)) -> ApiError {
    tracing::warn!(error = %Chain(error), "the database is away");
    ApiError::unavailable()
}

/// A lost connection, a time-out or a server that shuts down is 503; anything else was not foreseen.
fn of_sql(sql: &tokio_postgres::Error, error: &(dyn std::error::Error + 'static)) -> ApiError {
    let class = sql.code().and_then(|code| code.code().get(..2));
    match class {
        None | Some("08" | "53" | "55" | "57" | "58") => away(error),
        Some(_) => ApiError::internal(error),
    }
}
