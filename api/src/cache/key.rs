//! What a page is kept under: a digest of all that it depends on, so that neither Redis nor a log ever sees a filter.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The key of a page. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageKey {
    pub(super) route: &'static str,
    pub(super) digest: [u8; 32],
}

impl PageKey {
    /// The key of a page of `route` (also a label of metrics) that depends on `parts` and nothing else. The order of keys
    /// does not count; numbers are told apart to the last digit.
    #[must_use]
    pub fn of(route: &'static str, mut parts: Value) -> Self {
        parts.sort_all_objects();
        let digest = Sha256::new().chain_update(route).chain_update([0]).chain_update(parts.to_string());
        Self { route, digest: digest.finalize().into() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_filters_in_another_order_are_the_same_page() {
        let one = PageKey::of("r", json!({"a": 1, "state": {"x": "1", "y": {"p": 1, "q": 2}}}));
        let two = PageKey::of("r", json!({"state": {"y": {"q": 2, "p": 1}, "x": "1"}, "a": 1}));
        assert_eq!(one, two);
    }

    #[test]
    fn whatever_differs_makes_another_page() {
        let all = [
            PageKey::of("r", json!({"n": 9_007_199_254_740_993_u64})),
            PageKey::of("r", json!({"n": 9_007_199_254_740_992_u64})),
            PageKey::of("r", json!({"n": "9007199254740993"})),
            PageKey::of("r", json!({"n": null})),
            PageKey::of("r", json!({})),
            PageKey::of("other", json!({})),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
