//! `/api/v1/item/*` (CONTRACT 4.4 to 4.8).

use serde_json::{Value, json};

use super::super::operation::{Operation, Tier};
use super::super::parameters::{if_match, item_filters, item_id, item_paging, paging, query};
use super::super::schemas::{object, page, put, schema};

const UNSERVED: (u16, &str) = (403, "UNSERVED_DOMAIN_BINDING");
const GONE: (u16, &str) = (404, "ITEM_NOT_FOUND_OR_FORBIDDEN");

pub(super) fn operations() -> Vec<Operation> {
    vec![create(), fetch(), update(), delete(), history()]
}

fn create() -> Operation {
    Operation::post("/api/v1/item/create", "createItem", "items", Tier::User)
        .summary("Create an item")
        .says(
            "The state is checked with the item type's schema; values that it marks `private` are seen by their owner \
             alone. `item_id`, `item_instance_url`, `item_schema_url` and times may be sent and are ignored.",
        )
        .body(schema("ServedNewItem"))
        .answers(201, "The item as its owner sees it.", schema("Item"))
        .like(item())
        .header("etag")
        .appends()
        .idempotent()
        .refuses(&[
            (400, "CREATED_BY_REQUIRED"),
            (400, "INVALID_ITEM_STATE"),
            (400, "INVALID_REFERENCE"),
            (403, "FORBIDDEN_CREATED_BY"),
            UNSERVED,
            (409, "ITEM_ALREADY_EXISTS"),
        ])
}

fn fetch() -> Operation {
    let ignored = |name: &str| {
        let mut parameter = query(name, json!({}), "Accepted and ignored.");
        put(&mut parameter, "deprecated", json!(true));
        parameter
    };
    Operation::get("/api/v1/item/fetch", "fetchItems", "items", Tier::User)
        .summary("Your own items")
        .says(
            "On this instance, private values included, newest first. An answer of one item that was asked for by \
             `item_id` has its `etag`.",
        )
        .parameters(item_filters())
        .parameters(item_paging())
        .parameters([ignored("cache_ttl_seconds"), ignored("created_by_me")])
        .answers(200, "A page of items.", page("items", "Item"))
        .like(json!({"meta": {"total": 1, "limit": 20, "offset": 0, "next_cursor": null}, "items": [item()]}))
        .header("etag")
        .header("x-cache")
        .reads_tables()
        .refuses(&[UNSERVED])
}

fn update() -> Operation {
    Operation::patch("/api/v1/item/{itemId}", "updateItem", "items", Tier::User)
        .summary("Replace an item's state or place")
        .says(
            "`item_state` replaces the whole state; without it the state stays. Without coordinates they stay; both null \
             removes them. Unknown members are refused here. The owner may do this, and an admin.",
        )
        .parameters([item_id(), if_match()])
        .body(json!({"allOf": [
            schema("ItemChange"), {"properties": {"item_state": schema("ServedState")}}
        ]}))
        .sends(json!({"item_latitude": 18.5204, "item_longitude": 73.8567}))
        .answers(200, "The item as its owner sees it.", object(&[("item", schema("Item"))]))
        .like(json!({"item": item()}))
        .header("etag")
        .appends()
        .refuses(&[GONE, (400, "INVALID_ITEM_STATE"), (409, "ITEM_CONFLICT"), (412, "PRECONDITION_FAILED")])
}

fn delete() -> Operation {
    Operation::delete("/api/v1/item/{itemId}", "deleteItem", "items", Tier::User)
        .summary("Delete an item")
        .says(
            "Its private values are gone at once, from its history too. Actions whose target it was are no longer \
             listed; those whose source it was stay. Only the owner may do this.",
        )
        .parameters([item_id(), if_match()])
        .answers_as(204, "Deleted.", None)
        .appends()
        .refuses(&[GONE, (409, "ITEM_CONFLICT"), (412, "PRECONDITION_FAILED")])
}

fn history() -> Operation {
    Operation::get("/api/v1/item/{itemId}/history", "itemHistory", "items", Tier::User)
        .summary("Every version of an item, oldest first")
        .says("For its owner, also after deletion, then without private values.")
        .parameters([item_id()])
        .parameters(paging())
        .answers(200, "A page of versions.", page("versions", "ItemVersion"))
        .like(json!({"meta": {"total": 1, "limit": 20, "offset": 0, "next_cursor": null}, "versions": [{
            "version": 1, "event_type": "item.created", "recorded_at": "2026-11-21T01:53:13.435Z",
            "actor": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6", "item": item(),
        }]}))
        .stored()
        .refuses(&[GONE])
}

/// An item for examples.
pub(super) fn item() -> Value {
    json!({
        "item_network": "yellow_dot", "item_domain": "student", "item_type": "profile_1.0",
        "item_id": "019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d", "item_instance_url": "https://a.example.org",
        "item_schema_url": "https://a.example.org/api/v1/network/schema/yellow_dot/student/profile_1.0",
        "item_state": {"name": "Asha", "city": "Pune"}, "item_latitude": 18.5204, "item_longitude": 73.8567,
        "created_by": "5e0c1f7a-3b2d-4c6e-8f90-a1b2c3d4e5f6", "created_at": "2026-11-21T01:53:13.435Z",
        "updated_at": "2026-11-21T01:53:13.435Z",
    })
}
