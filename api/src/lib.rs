//! The API of one instance: HTTP, authentication, the network contract.

pub mod auth;
pub mod config;
pub mod contract;
pub mod demo;
pub mod embedded;
pub mod http;
pub mod telemetry;
