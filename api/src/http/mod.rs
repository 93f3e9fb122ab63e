//! HTTP conventions of CONTRACT section 1: envelope, bodies, queries, headers.

pub mod error;

pub use error::{ApiError, Fault, Form};
