//! Decisions: state, command and contract in, events or a refusal out. No I/O: what they need is loaded before, what they
//! decide is appended after, and if the state has moved meanwhile they are asked again.

pub mod action;
pub mod item;
pub mod mirrored;
pub mod payload;
#[cfg(test)]
mod tests;
