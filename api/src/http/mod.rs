//! HTTP conventions of CONTRACT section 1: envelope, bodies, queries, headers.
//!
//! A route is an [`Endpoint`]; its handler authenticates, then reads the body ([`body::read_json`]), then its fields
//! ([`fields`]), and returns [`ApiError`] for whatever it refuses. The [`envelope`](envelope()) middleware does the rest.

pub mod body;
pub mod client;
pub mod coordinates;
pub mod cors;
pub mod endpoint;
pub mod envelope;
pub mod error;
pub mod fields;
pub mod filter;
pub mod headers;
pub mod json;
pub mod metrics;
pub mod page;
pub mod query;
pub mod references;
pub mod scalars;

pub use endpoint::{Endpoint, no_such_route};
pub use envelope::{envelope, request_id};
pub use error::{ApiError, Fault, Form};

#[cfg(test)]
mod tests;
