//! The objects of CONTRACT 3, 4 and 10: all keys there, each of its type. Answers may carry more than is listed.

use dpg_tests::Answer;
use serde_json::{Value, json};
use uuid::Uuid;

/// A type that a key may have.
#[derive(Debug, Clone, Copy)]
pub enum Is {
    /// Text with at least a character.
    Text,
    /// Text, maybe empty.
    AnyText,
    /// Lower-case uuid.
    Id,
    /// `2026-11-21T01:53:13.435Z`.
    Time,
    /// Whole number from 0.
    Count,
    /// Any number.
    Number,
    /// true or false.
    Flag,
    /// Object.
    Object,
    /// Array.
    List,
    /// Anything.
    Any,
    /// null only.
    Null,
    /// Text or null.
    MaybeText,
    /// Time or null.
    MaybeTime,
    /// Number or null.
    MaybeNumber,
}

impl Is {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::AnyText => value.is_string(),
            Self::Id => value
                .as_str()
                .is_some_and(|text| Uuid::parse_str(text).is_ok_and(|id| id.hyphenated().to_string() == text)),
            Self::Time => value.as_str().is_some_and(is_time),
            Self::Count => value.is_u64(),
            Self::Number => value.is_number(),
            Self::Flag => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::List => value.is_array(),
            Self::Any => true,
            Self::Null => value.is_null(),
            Self::MaybeText => value.is_null() || value.is_string(),
            Self::MaybeTime => value.is_null() || Self::Time.holds(value),
            Self::MaybeNumber => value.is_null() || value.is_number(),
        }
    }
}

/// ISO 8601, UTC, milliseconds, `Z` (CONTRACT 1.1).
pub fn is_time(text: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |(byte, want): (u8, u8)| if want == b'd' { byte.is_ascii_digit() } else { byte == want };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(fits)
}

const ITEM: &[(&str, Is)] = &[
    ("item_network", Is::Text),
    ("item_domain", Is::Text),
    ("item_type", Is::Text),
    ("item_id", Is::Id),
    ("item_instance_url", Is::Text),
    ("item_schema_url", Is::Text),
    ("item_state", Is::Object),
    ("item_latitude", Is::MaybeNumber),
    ("item_longitude", Is::MaybeNumber),
    ("created_by", Is::Text),
    ("created_at", Is::Time),
    ("updated_at", Is::Time),
];

const SIDES: &[(&str, Is)] = &[
    ("action_type", Is::Text),
    ("partition_network", Is::Text),
    ("action_id", Is::Id),
    ("action_status", Is::Text),
    ("update_count", Is::Count),
    ("source_item_network", Is::Text),
    ("source_item_domain", Is::Text),
    ("source_item_type", Is::Text),
    ("source_item_id", Is::Id),
    ("source_item_instance_url", Is::Text),
    ("source_item_owner", Is::MaybeText),
    ("target_item_network", Is::Text),
    ("target_item_domain", Is::Text),
    ("target_item_type", Is::Text),
    ("target_item_id", Is::Id),
    ("target_item_instance_url", Is::Text),
    ("target_item_owner", Is::MaybeText),
    ("remarks", Is::MaybeText),
    ("created_at", Is::Time),
    ("ownership_roles", Is::List),
];

const USER: &[(&str, Is)] = &[
    ("id", Is::Text),
    ("name", Is::AnyText),
    ("email", Is::MaybeText),
    ("emailVerified", Is::Flag),
    ("image", Is::MaybeText),
    ("createdAt", Is::Time),
    ("updatedAt", Is::Time),
    ("role", Is::Text),
    ("banned", Is::Flag),
    ("banReason", Is::MaybeText),
    ("banExpires", Is::MaybeTime),
    ("phoneNumber", Is::MaybeText),
    ("phoneNumberVerified", Is::Flag),
    ("dateOfBirth", Is::MaybeText),
    ("termsAccepted", Is::Flag),
    ("privacyAccepted", Is::Flag),
];

/// Asserts that an object has these keys.
#[track_caller]
pub fn keys(value: &Value, wanted: &[(&str, Is)]) {
    for (key, is) in wanted {
        let found = value.get(key).unwrap_or_else(|| panic!("{key} is missing: {value}"));
        assert!(is.holds(found), "{key} is not {is:?}: {value}");
    }
}

/// Asserts that an object has these keys and no others.
#[track_caller]
pub fn exactly(value: &Value, wanted: &[(&str, Is)]) {
    keys(value, wanted);
    let more = value.as_object().expect("an object").keys().find(|key| wanted.iter().all(|(name, _)| name != key));
    assert!(more.is_none(), "{more:?} is not asked for: {value}");
}

/// CONTRACT 3.1.
#[track_caller]
pub fn item(value: &Value) {
    keys(value, ITEM);
    assert_eq!(value["item_latitude"].is_null(), value["item_longitude"].is_null(), "half a place: {value}");
    let url = value["item_instance_url"].as_str().unwrap_or_default();
    assert!(!url.ends_with('/'), "item_instance_url has no trailing slash: {value}");
}

/// CONTRACT 3.3.
#[track_caller]
pub fn action(value: &Value) {
    keys(value, SIDES);
    keys(value, &[("requirements_snapshot", Is::Object), ("updated_at", Is::Time)]);
    roles(value);
}

/// CONTRACT 3.4, with the event's identity as it follows from what it tells.
#[track_caller]
pub fn event(value: &Value) {
    keys(value, SIDES);
    keys(
        value,
        &[
            ("event_id", Is::Id),
            ("origin_instance_domain", Is::Text),
            ("source_item_latitude", Is::MaybeNumber),
            ("source_item_longitude", Is::MaybeNumber),
            ("target_item_latitude", Is::MaybeNumber),
            ("target_item_longitude", Is::MaybeNumber),
            ("event_payload", Is::Object),
        ],
    );
    roles(value);
    assert_eq!(value["event_id"], json!(event_id(value)), "the event's id does not follow from what it tells: {value}");
}

/// The uuid v5 of an event (CONTRACT 3.4).
pub fn event_id(event: &Value) -> Uuid {
    let namespace = Uuid::parse_str("a7fcc2b7-fa96-558b-85ab-b2c52581557a").expect("a uuid");
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    // The normal form of 5.3 writes the loop-back host as `localhost`.
    let origin = text("origin_instance_domain").replace("127.0.0.1", "localhost");
    Uuid::new_v5(&namespace, format!("{origin}\n{}\n{}", text("action_id"), event["update_count"]).as_bytes())
}

#[track_caller]
fn roles(value: &Value) {
    let allowed = [json!(["initiated"]), json!(["received"]), json!(["initiated", "received"])];
    assert!(allowed.contains(&value["ownership_roles"]), "ownership_roles: {value}");
}

/// The User object of CONTRACT 10.
#[track_caller]
pub fn user(value: &Value) {
    keys(value, USER);
    assert!(value["role"] == "user" || value["role"] == "admin", "role: {value}");
}

/// The six fields of CONTRACT 4.9.
#[track_caller]
pub fn six_fields(value: &Value) {
    exactly(
        value,
        &[
            ("action_id", Is::Id),
            ("action_type", Is::Text),
            ("action_status", Is::Text),
            ("update_count", Is::Count),
            ("source_item_id", Is::Id),
            ("target_item_id", Is::Id),
        ],
    );
}

/// The four fields of CONTRACT 4.11.
#[track_caller]
pub fn four_fields(value: &Value) {
    exactly(
        value,
        &[("action_id", Is::Id), ("action_type", Is::Text), ("action_status", Is::Text), ("update_count", Is::Count)],
    );
}

/// A page (CONTRACT 1.7) of rows under `key`; gives the rows back.
#[track_caller]
pub fn page<'answer>(answer: &'answer Answer, key: &str) -> &'answer [Value] {
    assert_eq!(answer.status, 200, "{answer}");
    let meta = [("total", Is::Count), ("limit", Is::Count), ("offset", Is::Count), ("next_cursor", Is::MaybeText)];
    keys(&answer.body["meta"], &meta);
    answer.body[key].as_array().unwrap_or_else(|| panic!("no {key}: {answer}"))
}

/// The total of a page.
#[track_caller]
pub fn total(answer: &Answer) -> u64 {
    answer.body["meta"]["total"].as_u64().unwrap_or_else(|| panic!("no total: {answer}"))
}

/// Asserts a refusal whose details name these places.
#[track_caller]
pub fn faults(answer: &Answer, code: &str, paths: &[&str]) {
    answer.expect_error(400, code);
    let told = answer.body["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    for path in paths {
        assert!(told.iter().any(|fault| fault["path"] == json!(path)), "{path} is not named: {answer}");
    }
}

/// Asserts the unserved reply (CONTRACT 1.3) of an instance that serves these domains of the tests' network.
#[track_caller]
pub fn unserved(answer: &Answer, network: &str, domain: &str, served: &[&str]) {
    answer.expect_error(403, "UNSERVED_DOMAIN_BINDING");
    let bindings: Vec<String> = served.iter().map(|one| format!("open_lessons/{one}")).collect();
    let types: serde_json::Map<String, Value> =
        bindings.iter().map(|binding| (binding.clone(), json!(["profile_1.0"]))).collect();
    let wanted = json!({
        "requested": {"network": network, "domain": domain, "key": format!("{network}/{domain}")},
        "allowed_bindings": bindings, "allowed_networks": ["open_lessons"], "allowed_domains": served,
        "allowed_item_types_by_binding": types
    });
    for (key, value) in wanted.as_object().expect("an object") {
        assert_eq!(&answer.body[key], value, "{key}: {answer}");
    }
}
