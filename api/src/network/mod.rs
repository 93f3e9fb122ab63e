//! Speaking with other instances: whom to believe, and what goes out to them.

pub mod asker;
pub mod fetch;
pub mod forward;
pub mod held;
pub mod history;
pub mod mirrored;
pub mod mirrored_batch;
pub mod perform;
pub mod status;
pub mod trust;
