//! The API of one instance: HTTP, authentication, the network contract. `main.rs` is the composition root.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod app;
pub mod auth;
pub mod cache;
pub mod cli;
pub mod commands;
pub mod config;
pub mod contract;
pub mod contract_versions;
pub mod demo;
pub mod embedded;
mod failure;
pub mod http;
pub mod loading;
pub mod maintenance;
pub mod match_score;
pub mod network;
mod openapi;
pub mod operator;
pub mod outbound;
mod probe;
pub mod queries;
pub mod reads;
pub mod routes;
pub mod server;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod writes;
