//! `/api/v1/network/*` for clients, and `match-score/calculate` (CONTRACT 4.16, 4.19 to 4.22).

use serde_json::{Value, json};

use super::super::operation::{Operation, Tier};
use super::super::parameters::{item_filters, item_paging, path, query};
use super::super::schemas::{list, object, put, schema};
use super::items::item;

pub(super) fn operations() -> Vec<Operation> {
    vec![fetch(), schemas(), item_schema(), refetch(), match_score()]
}

fn fetch() -> Operation {
    let page = object(&[("meta", schema("NetworkMeta")), ("items", list(schema("Item")))]);
    Operation::get("/api/v1/network/item/fetch", "fetchNetworkItems", "network", Tier::Open)
        .summary("Items of a domain on all instances")
        .says(
            "Public values only. Instance after instance in the contract's order, the newest first in each. An instance \
             that does not answer costs its own rows and is named in `meta.unavailable_instances`.",
        )
        .parameters(item_filters())
        .parameters(item_paging())
        .parameters([query(
            "cache_ttl_seconds",
            json!({"type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_i64}),
            "How old a page may be. The domain's own value is the least, 3600 the most.",
        )])
        .answers(200, "A page of items.", page)
        .like(json!({
            "meta": {"total": 1, "limit": 20, "offset": 0, "next_cursor": null, "partial": true,
                     "unavailable_instances": [{"instance_url": "https://c.example.org", "reason": "timeout"}]},
            "items": [item()],
        }))
        .header("etag")
        .header("x-cache")
        .header("x-network-partial")
        .reads_tables()
        .refuses(&[(403, "UNSERVED_DOMAIN_BINDING"), (404, "NETWORK_NOT_FOUND")])
}

fn schemas() -> Operation {
    let filter = |name: &str, what: &str| query(name, json!({"type": "string", "maxLength": 2048}), what);
    Operation::get("/api/v1/network/schemas", "listSchemas", "network", Tier::Open)
        .summary("The contracts and schemas that are loaded")
        .says("Sorted by `cache_key`. An empty filter is none; one that matches nothing gives an empty list.")
        .parameters([
            filter("network", "Network."),
            filter("domain", "Domain."),
            filter("item_type", "Item type."),
            filter("schema_url", "Schema URL."),
        ])
        .answers(200, "The documents.", list(schema("SchemaEntry")))
        .like(json!([{
            "cache_key": "24d5f609b240d653b42191ff59948e30d60f48534539896ae33c21f3da366aeb", "kind": "domain_item_schema",
            "network": "yellow_dot", "domain": "student", "item_type": "profile_1.0", "source": "inline",
            "cached_at": "2026-11-21T01:50:00.000Z",
            "file_name": "24d5f609b240d653b42191ff59948e30d60f48534539896ae33c21f3da366aeb.json",
            "schema": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        }]))
}

fn item_schema() -> Operation {
    Operation::get("/api/v1/network/schema/{network}/{domain}/{itemType}", "itemSchema", "network", Tier::Open)
        .summary("The schema that a new item has to fit")
        .parameters([
            path("network", schema("Name"), "Network."),
            path("domain", schema("Name"), "Domain, served here."),
            path("itemType", schema("Name"), "Item type."),
        ])
        .answers(200, "A JSON Schema.", json!({"type": ["object", "boolean"]}))
        .like(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}, "phone": {"type": "string", "private": true}},
        }))
        .refuses(&[
            (403, "UNSERVED_DOMAIN_BINDING"),
            (404, "ITEM_TYPE_NOT_FOUND"),
            (404, "NETWORK_NOT_FOUND"),
            (502, "REMOTE_SCHEMA_FETCH_FAILED"),
        ])
}

fn refetch() -> Operation {
    let counted = object(&[
        ("refreshed", json!({"type": "boolean", "const": true})),
        ("schema_count", json!({"type": "integer", "minimum": 0})),
    ]);
    Operation::post("/api/v1/network/refetch_schemas", "refetchSchemas", "network", Tier::User)
        .summary("Load the contract and its schemas again")
        .says("Starts at most once in 10 seconds; calls that come sooner wait and share the next run. When anything fails, the last good contract stays.")
        .answers(200, "Loaded.", counted)
        .like(json!({"refreshed": true, "schema_count": 5}))
        .stored()
        .refuses(&[(502, "NETWORK_CONFIG_INVALID"), (502, "REMOTE_SCHEMA_FETCH_FAILED")])
}

fn match_score() -> Operation {
    Operation::post("/api/v1/match-score/calculate", "matchScore", "network", Tier::User)
        .summary("How well two items match")
        .says("Asks the operator's scoring service.")
        .body(object(&[("itemA", schema("ScoredItem")), ("itemB", schema("ScoredItem"))]))
        .sends(json!({"itemA": scored("student", "Asha"), "itemB": scored("tutor", "Ravi")}))
        .answers(200, "The score.", schema("MatchScore"))
        .like(json!({
            "provider": "dpg_scoring", "score": 7.5, "band": "high", "confidence": 0.8, "version": "1",
            "prompt_version": "3", "model_provider": "x", "model": "y", "reasoning": "Same subject.",
            "signals": [{"name": "subject", "impact": "positive", "summary": "Both name math."}], "raw_response": {},
        }))
        .stored()
        .refuses(&[(502, "MATCH_SCORE_SERVICE_UNAVAILABLE"), (503, "MATCH_SCORE_NOT_CONFIGURED")])
}

fn scored(domain: &str, name: &str) -> Value {
    let mut item = super::actions::item_ref_plus(domain);
    put(&mut item, "item_schema_url", json!("https://a.example.org/s"));
    put(&mut item, "item_state", json!({"name": name}));
    put(&mut item, "item_latitude", Value::Null);
    put(&mut item, "item_longitude", Value::Null);
    item
}
