//! All routes of the contract with a good body each, for the sentences that hold for every route (CONTRACT 1.1 and 2.1).

use dpg_tests::network::{NETWORK, PROFILE, STUDENT, TUTOR};
use serde_json::{Value, json};
use uuid::Uuid;

/// Who may call (CONTRACT 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Anyone.
    Open,
    /// A signed-in user or an API key.
    User,
    /// A signed-in user with a session.
    Session,
    /// A peer.
    Peer,
    /// The operator.
    Admin,
}

/// A route.
pub struct Entry {
    /// `POST /api/v1/item/create`, as the table names it.
    pub title: &'static str,
    /// The method.
    pub method: &'static str,
    /// The path with its parameters filled.
    pub path: String,
    /// Who may call.
    pub tier: Tier,
    /// A body in which nothing is wrong for the schema; none for routes without one.
    pub body: Option<Value>,
}

/// Every route of sections 4 and 10.
pub fn all() -> Vec<Entry> {
    let id = Uuid::new_v4();
    let entry = |title: &'static str, path: &str, tier: Tier, body: Option<Value>| {
        let method = title.split(' ').next().expect("a method");
        Entry { title, method, path: path.to_owned(), tier, body }
    };
    let plus = |domain: &str| {
        json!({"item_network": NETWORK, "item_domain": domain, "item_type": PROFILE, "item_id": id,
               "item_instance_url": "http://nowhere.example"})
    };
    let pair = format!("item_network={NETWORK}&item_domain={STUDENT}");
    let item = format!("/api/v1/item/{id}");
    let snapshot = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE, "item_id": id,
        "item_instance_url": "http://nowhere.example", "item_schema_url": "http://nowhere.example/s",
        "item_state": {}, "item_latitude": null, "item_longitude": null});
    let filters = json!({"item_network": NETWORK, "item_domain": STUDENT});
    let mut rows = filters.clone();
    (rows["limit"], rows["offset"]) = (json!(20), json!(0));
    let event = json!({"origin_instance_domain": "http://nowhere.example", "action_type": "connect",
        "action_status": "created", "action_id": id, "update_count": 0, "source_item": plus(STUDENT),
        "target_item": plus(TUTOR)});
    let (open, user, peer, admin) = (Tier::Open, Tier::User, Tier::Peer, Tier::Admin);
    let lane = json!({"instance_url": "http://nowhere.example"});
    vec![
        entry("GET /", "/", open, None),
        entry("GET /.well-known/dpg-peer", "/.well-known/dpg-peer", open, None),
        entry("GET /health/live", "/health/live", open, None),
        entry("GET /health/ready", "/health/ready", open, None),
        entry("GET /metrics", "/metrics", open, None),
        entry("GET /api/v1/openapi.json", "/api/v1/openapi.json", open, None),
        entry("GET /api/reference", "/api/reference", open, None),
        entry("POST /api/v1/item/create", "/api/v1/item/create", user, Some(filters_with_type())),
        entry("GET /api/v1/item/fetch", &format!("/api/v1/item/fetch?{pair}"), user, None),
        entry("PATCH /api/v1/item/:itemId", &item, user, Some(json!({"item_state": {"name": "Asha"}}))),
        entry("DELETE /api/v1/item/:itemId", &item, user, None),
        entry("GET /api/v1/item/:itemId/history", &format!("{item}/history"), user, None),
        entry(
            "POST /api/v1/action/perform",
            "/api/v1/action/perform",
            user,
            Some(json!({"action_type": "connect",
            "source_item": plus(STUDENT), "target_item": plus(TUTOR), "requirements_snapshot": {}})),
        ),
        entry(
            "POST /api/v1/network/action/perform",
            "/api/v1/network/action/perform",
            peer,
            Some(json!({"action_type": "connect", "source_item": plus(STUDENT), "target_item": plus(TUTOR),
                "source_item_owner": "somebody", "requirements_snapshot": {}})),
        ),
        entry(
            "POST /api/v1/action/update-status",
            "/api/v1/action/update-status",
            user,
            Some(json!({"action_id": id, "action_status": "accepted"})),
        ),
        entry(
            "POST /api/v1/network/action/update-status",
            "/api/v1/network/action/update-status",
            peer,
            Some(json!({"action_id": id, "action_status": "cancelled", "source_item": plus(STUDENT),
                "source_item_owner": "somebody"})),
        ),
        entry("GET /api/v1/action/fetch", "/api/v1/action/fetch", user, None),
        entry("POST /api/v1/event/store", "/api/v1/event/store", peer, Some(event.clone())),
        entry(
            "POST /api/v1/event/store/batch",
            "/api/v1/event/store/batch",
            peer,
            Some(json!({"origin_instance_domain": "http://nowhere.example", "network": NETWORK,
                "destination": "http://nowhere.example", "epoch": id, "events": [{"seq": 1, "event": event}]})),
        ),
        entry("GET /api/v1/event/fetch", "/api/v1/event/fetch", user, None),
        entry("GET /api/v1/network/item/fetch", &format!("/api/v1/network/item/fetch?{pair}"), open, None),
        entry("POST /api/v1/network/item/count_local", "/api/v1/network/item/count_local", peer, Some(filters)),
        entry("POST /api/v1/network/item/fetch_local", "/api/v1/network/item/fetch_local", peer, Some(rows)),
        entry("GET /api/v1/network/schemas", "/api/v1/network/schemas", open, None),
        entry(
            "GET /api/v1/network/schema/:network/:domain/:itemType",
            &format!("/api/v1/network/schema/{NETWORK}/{STUDENT}/{PROFILE}"),
            open,
            None,
        ),
        entry("POST /api/v1/network/refetch_schemas", "/api/v1/network/refetch_schemas", user, None),
        entry(
            "POST /api/v1/match-score/calculate",
            "/api/v1/match-score/calculate",
            user,
            Some(json!({"itemA": snapshot, "itemB": snapshot})),
        ),
        entry("GET /api/v1/peers/self/status", "/api/v1/peers/self/status", peer, None),
        entry("GET /api/v1/admin/peers", "/api/v1/admin/peers", admin, None),
        entry("POST /api/v1/admin/peers/pause", "/api/v1/admin/peers/pause", admin, Some(lane.clone())),
        entry("POST /api/v1/admin/peers/resume", "/api/v1/admin/peers/resume", admin, Some(lane.clone())),
        entry("POST /api/v1/admin/peers/probe", "/api/v1/admin/peers/probe", admin, Some(lane)),
        entry("GET /api/v1/admin/outbox/parked", "/api/v1/admin/outbox/parked", admin, None),
        entry("GET /api/v1/admin/outbox/parked/:id", &format!("/api/v1/admin/outbox/parked/{id}"), admin, None),
        entry(
            "POST /api/v1/admin/outbox/parked/:id/retry",
            &format!("/api/v1/admin/outbox/parked/{id}/retry"),
            admin,
            None,
        ),
        entry(
            "POST /api/v1/admin/outbox/parked/:id/drop",
            &format!("/api/v1/admin/outbox/parked/{id}/drop"),
            admin,
            Some(json!({"reason": "no longer wanted"})),
        ),
        entry(
            "POST /api/v1/admin/outbox/resend",
            "/api/v1/admin/outbox/resend",
            admin,
            Some(json!({"instance_url": "http://nowhere.example", "network": NETWORK, "since_seq": 1})),
        ),
        entry(
            "POST /api/auth/unified-otp/check-user",
            "/api/auth/unified-otp/check-user",
            open,
            Some(json!({"email": "nobody@example.com"})),
        ),
        entry(
            "POST /api/auth/unified-otp/request",
            "/api/auth/unified-otp/request",
            open,
            Some(json!({"email": "catalogue@example.com"})),
        ),
        entry(
            "POST /api/auth/unified-otp/verify",
            "/api/auth/unified-otp/verify",
            open,
            Some(json!({"email": "nobody@example.com", "otp": "123456"})),
        ),
        entry("GET /api/auth/get-session", "/api/auth/get-session", open, None),
        entry("POST /api/auth/sign-out", "/api/auth/sign-out", open, None),
        entry(
            "POST /api/auth/sign-up/email",
            "/api/auth/sign-up/email",
            open,
            Some(json!({"email": "short@example.com", "password": "short", "name": "Short"})),
        ),
        entry(
            "POST /api/auth/sign-in/email",
            "/api/auth/sign-in/email",
            open,
            Some(json!({"email": "nobody@example.com", "password": "correct horse"})),
        ),
        entry("POST /api/auth/api-key/create", "/api/auth/api-key/create", Tier::Session, Some(json!({"name": "bot"}))),
        entry("GET /api/auth/api-key/list", "/api/auth/api-key/list", Tier::Session, None),
        entry("POST /api/auth/api-key/delete", "/api/auth/api-key/delete", Tier::Session, Some(json!({"keyId": id}))),
        entry("GET /api/auth/ok", "/api/auth/ok", open, None),
    ]
}

fn filters_with_type() -> Value {
    json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE, "item_state": {"name": "Asha"}})
}
