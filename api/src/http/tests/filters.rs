use serde_json::{Value, json};

use crate::http::ApiError;
use crate::http::fields::{collect, read_body};
use crate::http::filter::{ItemFilter, Within};
use crate::http::page::{Page, Start};
use crate::http::query::Query;

fn query(text: &str) -> Result<ItemFilter, ApiError> {
    let query = Query::parse(&format!("item_network=n&item_domain=d&{text}"));
    collect(|faults| faults.query(&query, ItemFilter::read))
}

fn body(mut more: Value) -> Result<ItemFilter, ApiError> {
    more["item_network"] = json!("n");
    more["item_domain"] = json!("d");
    read_body(&more, ItemFilter::read)
}

fn paths<T>(read: Result<T, ApiError>) -> Vec<String> {
    read.err().map(|error| error.details.into_iter().map(|fault| fault.path).collect()).unwrap_or_default()
}

fn leaves(filter: &ItemFilter) -> Vec<Vec<Value>> {
    filter.leaves().into_iter().map(|leaf| leaf.any_of).collect()
}

#[test]
fn network_and_domain_are_required_and_have_other_spellings_in_queries() {
    let read = |text: &str| collect(|faults| faults.query(&Query::parse(text), ItemFilter::read));
    assert_eq!(paths(read("")), ["/item_network", "/item_domain"]);
    let filter = read("network=n&item_domain=d&domain=d").unwrap();
    assert_eq!((filter.network.as_str(), filter.domain.as_str()), ("n", "d"));
    assert_eq!(paths(read("network=n&item_domain=d&domain=e")), ["/item_domain"]);
    let of_body = read_body(&json!({"network": "n", "domain": "d"}), ItemFilter::read);
    assert_eq!(paths(of_body), ["/item_network", "/item_domain"]);
}

#[test]
fn equality_filters() {
    let filter = query(
        "item_id=11111111-1111-1111-1111-111111111111&item_type=t&item_schema_url=urn:x&item_instance_url=http://a",
    )
    .unwrap();
    assert_eq!(filter.item_id.unwrap().to_string(), "11111111-1111-1111-1111-111111111111");
    assert_eq!(filter.item_type.as_deref(), Some("t"));
    assert_eq!((filter.schema_url.as_deref(), filter.instance_url.as_deref()), (Some("urn:x"), Some("http://a")));
    for empty in ["item_id", "item_type", "item_schema_url", "item_instance_url"] {
        assert_eq!(paths(query(&format!("{empty}="))), [format!("/{empty}")]);
    }
    assert!(body(json!({"item_schema_url": null, "item_instance_url": null})).is_ok());
    assert_eq!(paths(body(json!({"item_type": null}))), ["/item_type"]);
}

#[test]
fn a_text_leaf_matches_the_number_or_boolean_it_spells() {
    let filter = query("item_state[years]=5&item_state[a][ok]=true&item_state[city]=Pune").unwrap();
    assert_eq!(
        leaves(&filter),
        [
            vec![json!({"a": {"ok": "true"}}), json!({"a": {"ok": true}})],
            vec![json!({"city": "Pune"})],
            vec![json!({"years": "5"}), json!({"years": 5})],
        ]
    );
    let alternatives = |text: &str| leaves(&body(json!({"item_state": {"x": text}})).unwrap())[0].len();
    for spelled in ["0", "-1.5", "1e3", "false"] {
        assert_eq!(alternatives(spelled), 2, "{spelled}");
    }
    for text in ["", " 5", "5 ", "05", "+5", "1.", "True", "null", "[]", "\"5\"", "1e999"] {
        assert_eq!(alternatives(text), 1, "{text:?}");
    }
    let number = body(json!({"item_state": {"x": 5, "y": null}})).unwrap();
    assert_eq!(leaves(&number), [vec![json!({"x": 5})], vec![json!({"y": null})]]);
}

#[test]
fn lists_are_tested_element_by_element() {
    let filter = query("item_state[tags][]=x&item_state[tags][1]=y&item_state[c][0][k]=v").unwrap();
    let any_order = leaves(&filter).concat();
    for leaf in [json!({"tags": ["x"]}), json!({"tags": ["y"]}), json!({"c": [{"k": "v"}]})] {
        assert!(any_order.contains(&leaf), "{leaf}");
    }
    let empties = body(json!({"item_state": {"a": {}, "b": []}})).unwrap();
    assert_eq!(leaves(&empties), [vec![json!({"a": {}})], vec![json!({"b": []})]]);
}

#[test]
fn state_filters_have_limits() {
    let many = |count: usize| (0..count).map(|at| format!("item_state[k{at}]=v&")).collect::<String>();
    assert!(query(&many(20)).is_ok());
    assert_eq!(paths(query(&many(21))), ["/item_state"]);
    for bad in ["item_state=%7B%22a%22:1%7D", "item_state=", "item_state[]=x", "item_state[a]="] {
        assert_eq!(paths(query(bad)), ["/item_state"], "{bad}");
    }
    assert_eq!(paths(body(json!({"item_state": "{}"}))), ["/item_state"]);
    assert!(query("").unwrap().state.is_empty());
}

#[test]
fn a_place_needs_all_three() {
    let place = Within { latitude: 18.5, longitude: -73.8, radius_meters: 10.0 };
    assert_eq!(query("item_latitude=18.5&item_longitude=-73.8&radius_meters=10").unwrap().within, Some(place));
    let texts = json!({"item_latitude": "18.5", "item_longitude": -73.8, "radius_meters": "10"});
    assert_eq!(body(texts).unwrap().within, Some(place));
    assert_eq!(query("radius_meters=10&item_latitude=&item_longitude=").unwrap().within, None);
    assert_eq!(body(json!({"item_latitude": null, "item_longitude": null})).unwrap().within, None);
    assert_eq!(paths(query("item_latitude=1&radius_meters=")), ["/item_longitude", "/radius_meters"]);
    assert_eq!(paths(query("item_latitude=1&item_longitude=2")), ["/radius_meters"]);
    assert_eq!(paths(query("item_latitude=x&item_longitude=181&radius_meters=0")).len(), 3);
    assert_eq!(paths(query("radius_meters=-1")), ["/radius_meters"]);
}

#[test]
fn a_filter_travels_to_peers_as_it_came() {
    let filter = query("item_type=t&item_state[years]=5&item_latitude=1&item_longitude=2.5&radius_meters=3").unwrap();
    let sent = Value::Object(filter.to_body());
    assert_eq!(
        sent,
        json!({"item_network": "n", "item_domain": "d", "item_type": "t", "item_state": {"years": "5"},
            "item_latitude": 1.0, "item_longitude": 2.5, "radius_meters": 3.0})
    );
    assert_eq!(read_body(&sent, ItemFilter::read).unwrap(), filter);
}

#[test]
fn pages() {
    let read = |text: &str| collect(|faults| faults.query(&Query::parse(text), Page::read_with_page));
    let page = |limit, offset| Page { limit, start: Start::Offset(offset) };
    assert_eq!(read("").unwrap(), page(20, 0));
    assert_eq!(read("limit=&offset=").unwrap(), page(20, 0));
    assert_eq!(read("limit=100&offset=7").unwrap(), page(100, 7));
    assert_eq!(read("limit=10&page=3").unwrap(), page(10, 20));
    assert_eq!(read("cursor=abc&offset=").unwrap().start, Start::Cursor("abc".to_owned()));
    for (bad, path) in [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=5.0", "/limit"),
        ("limit=1&limit=1", "/limit"),
        ("offset=-1", "/offset"),
        ("page=0", "/page"),
        ("page=9223372036854775807", "/page"),
        ("cursor=", "/cursor"),
        ("offset=0&page=1", "/page"),
        ("offset=0&cursor=x", "/cursor"),
        ("page=1&cursor=x", "/cursor"),
    ] {
        assert_eq!(paths(read(bad)), [path], "{bad}");
    }
    assert_eq!(paths(read(&format!("cursor={}", "x".repeat(1025)))), ["/cursor"]);
    let plain = collect(|faults| faults.query(&Query::parse("page=3"), Page::read));
    assert_eq!(plain.unwrap(), page(20, 0), "page is for item fetches only");
}

#[test]
fn peers_send_limit_and_offset_as_numbers() {
    let read = |body: Value| read_body(&body, Page::read_required);
    assert_eq!(read(json!({"limit": 20, "offset": 0})).unwrap(), Page { limit: 20, start: Start::Offset(0) });
    assert_eq!(read(json!({"limit": 20, "cursor": "x"})).unwrap().start, Start::Cursor("x".to_owned()));
    assert_eq!(paths(read(json!({}))), ["/limit", "/offset"]);
    assert_eq!(paths(read(json!({"limit": "20", "offset": "0"}))), ["/limit", "/offset"]);
    assert_eq!(paths(read(json!({"limit": 20, "offset": 0, "cursor": "x"}))), ["/cursor"]);
}
