//! The demo's network contract: the example that ships with the project, with the two instances' URLs filled in.

/// The network of the example.
pub(super) const NETWORK: &str = "open_lessons";
/// Both domains have one item type, of this name.
pub(super) const PROFILE: &str = "profile_1.0";
/// What a student asks of a tutor.
pub(super) const REQUEST_LESSON: &str = "request_lesson";

const TEMPLATE: &str = include_str!("../../../deploy/example/network.json");

/// The contract of a network with these two instances.
pub(super) fn contract(student_url: &str, tutor_url: &str) -> String {
    TEMPLATE.replace("{{STUDENT_URL}}", student_url).replace("{{TUTOR_URL}}", tutor_url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_example_names_both_instances_and_what_the_story_uses() {
        let text = contract("http://127.0.0.1:1", "http://127.0.0.1:2");
        assert!(!text.contains("{{"), "an unfilled place");
        let contract: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(contract["id"], NETWORK);
        assert_eq!(contract["instances"][0]["instance_url"], "http://127.0.0.1:1");
        assert_eq!(contract["instances"][1]["instance_url"], "http://127.0.0.1:2");
        assert_eq!(contract["domains"][0]["id"], json!("student"));
        assert!(contract["domains"][1]["item_schemas"][PROFILE].is_object());
        assert!(contract["actions"][REQUEST_LESSON].is_object());
    }
}
