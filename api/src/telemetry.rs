//! Logs: to stderr, readable in development, JSON lines in production. What is shown is up to `RUST_LOG`.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not understood.
    #[error("RUST_LOG is not a list of filters")]
    Filter(#[source] ParseError),
    /// It was set up before.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Shown without `RUST_LOG`.
pub(crate) const DEFAULT_FILTER: &str = "info,tokio_postgres=warn,actix_server=warn";

/// The Postgres driver logs the values of parameters below `INFO`, private ones among them: whatever `RUST_LOG` says, those
/// lines are not shown.
fn shows_no_values(line: &Metadata<'_>) -> bool {
    !(line.target().starts_with("tokio_postgres") && *line.level() > Level::INFO)
}

/// Sets logging up for the whole process, panics included. `filter` is `RUST_LOG`, if there is one.
///
/// # Errors
/// When the filter can't be read, or logging was set up before.
pub fn init(production: bool, filter: Option<&str>) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER)).map_err(TelemetryError::Filter)?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = if production { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter.and(filter_fn(shows_no_values))))
        .try_init()
        .map_err(TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let owned = payload.downcast_ref::<String>().map(String::as_str);
        let message = owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(message, place, "panic");
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(init(true, Some("dpg=loud=very")), Err(TelemetryError::Filter(_))));
    }
}
