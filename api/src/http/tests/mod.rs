//! The conventions seen from outside: a real server on a loopback port, and the readers by themselves.

mod cors;
mod fields;
mod filters;
mod headers;
mod json;
mod server;
