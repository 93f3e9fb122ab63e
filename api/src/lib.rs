//! The API of one instance: HTTP, authentication, the network contract.

pub mod auth;
pub mod contract;
pub mod demo;
pub mod embedded;
pub mod http;
