//! JSON Pointers (RFC 6901): every problem and every fault names its place with one.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// `base` with one more reference token, escaped.
pub(crate) fn join(base: &str, token: &str) -> String {
    let token = if token.contains(['~', '/']) {
        Cow::Owned(token.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(token)
    };
    format!("{base}/{token}")
}

/// `base` with an array index.
pub(crate) fn index(base: &str, index: usize) -> String {
    format!("{base}/{index}")
}

/// The text of a URL fragment, percent-decoded; `None` if that is not UTF-8.
pub(crate) fn decode_fragment(fragment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(fragment).decode_utf8().ok()
}

/// Whether `place` is `root` or lies below it.
pub(crate) fn is_within(place: &str, root: &str) -> bool {
    place.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_escaped_and_found_again() {
        let document = serde_json::json!({"a/b": {"~c": [1, 2]}});
        let pointer = index(&join(&join("", "a/b"), "~c"), 1);
        assert_eq!(pointer, "/a~1b/~0c/1");
        assert_eq!(document.pointer(&pointer), Some(&serde_json::json!(2)));
    }

    #[test]
    fn a_neighbour_with_a_longer_name_is_not_within() {
        assert!(is_within("/a/b", "/a"));
        assert!(is_within("/a", "/a"));
        assert!(!is_within("/ab", "/a"));
    }
}
