//! From which page origins the session cookie counts (CONTRACT 2.2 and 10.10).

use std::collections::HashSet;

use actix_web::http::header::{self, HeaderMap};

use super::options::AuthOptions;
use crate::http::cors::LOCALHOST_ORIGINS;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// No `Origin` header.
    Missing,
    /// `Origin: null`.
    Null,
    /// Our own, or one that the operator allowed.
    Allowed,
    /// Any other.
    Foreign,
}

/// Our own origin and the allowed ones.
#[derive(Debug)]
pub(super) struct Origins {
    allowed: HashSet<String>,
}

impl Origins {
    pub(super) fn new(options: &AuthOptions) -> Self {
        let mut allowed: HashSet<String> = options.allowed_origins.iter().cloned().collect();
        allowed.insert(options.base_url.origin().ascii_serialization());
        if options.localhost_origins && !options.production {
            allowed.extend(LOCALHOST_ORIGINS.map(str::to_owned));
        }
        // An opaque base URL would allow every sandboxed page.
        allowed.remove("null");
        Self { allowed }
    }

    pub(super) fn of(&self, headers: &HeaderMap) -> Origin {
        let mut values = headers.get_all(header::ORIGIN);
        let Some(value) = values.next() else { return Origin::Missing };
        match value.to_str() {
            // Two of them are nobody's; a browser never sends that.
            _ if values.next().is_some() => Origin::Foreign,
            Ok("null") => Origin::Null,
            Ok(origin) if self.allowed.contains(origin) => Origin::Allowed,
            _ => Origin::Foreign,
        }
    }

    /// Whether the session cookie of this request counts.
    pub(super) fn cookie_counts(&self, headers: &HeaderMap) -> bool {
        matches!(self.of(headers), Origin::Missing | Origin::Allowed)
    }
}
