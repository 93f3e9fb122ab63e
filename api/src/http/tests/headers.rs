use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::test::TestRequest;

use crate::http::client::client_address;
use crate::http::headers::{IfMatch, MinPosition, etag, idempotency_key, if_match, min_position, prefers_async};

fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

#[test]
fn idempotency_keys_are_visible_ascii() {
    let read = |values: &[&str]| idempotency_key(&headers("idempotency-key", values));
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&["k-1"]), Ok(Some("k-1".to_owned())));
    assert!(read(&[&"x".repeat(255)]).is_ok());
    for bad in [&[""][..], &["a b"], &["é"], &[&"x".repeat(256)], &["a", "a"]] {
        assert_eq!(read(bad).unwrap_err().path, "/idempotency-key", "{bad:?}");
    }
}

#[test]
fn if_match_takes_versions_a_list_or_a_star() {
    let read = |values: &[&str]| if_match(&headers("if-match", values));
    let versions = |versions: &[i64]| Ok(Some(IfMatch::Versions(versions.to_vec())));
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&["*"]), Ok(Some(IfMatch::Any)));
    assert_eq!(read(&["\"3\""]), versions(&[3]));
    assert_eq!(read(&["\"1\" , \"2\"", "\"3\""]), versions(&[1, 2, 3]));
    assert_eq!(read(&["W/\"3\", \"a,b\", \"03\", \"\", \"+3\""]), versions(&[]), "well-formed, never matching");
    for bad in ["", " , ", "3", "\"3", "\"3\" \"4\"", "*, \"3\"", "w/\"3\"", "\"a b\"", "W/3"] {
        assert_eq!(read(&[bad]).unwrap_err().path, "/if-match", "{bad}");
    }
    assert!(read(&["\"1\", \"2\""]).unwrap().unwrap().allows(2));
    assert!(!read(&["\"1\""]).unwrap().unwrap().allows(2));
    assert!(IfMatch::Any.allows(7));
    assert_eq!(etag(2), "\"2\"");
}

#[test]
fn prefer_is_a_list() {
    let read = |values: &[&str]| prefers_async(&headers("prefer", values));
    assert!(read(&["respond-async"]) && read(&["return=minimal, Respond-Async; x=1"]) && read(&["a", "respond-async"]));
    assert!(!read(&[]) && !read(&["respond-asynchronously"]) && !read(&["a=\"x, respond-async\""]));
}

#[test]
fn a_minimum_position_may_name_its_network() {
    let read = |values: &[&str]| min_position(&headers("dpg-min-position", values));
    let position =
        |network: Option<&str>, position| Ok(Some(MinPosition { network: network.map(str::to_owned), position }));
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&["42"]), position(None, 42));
    assert_eq!(read(&["yellow_dot:0"]), position(Some("yellow_dot"), 0));
    assert_eq!(read(&["a:b:7"]), position(Some("a:b"), 7));
    for bad in [&[""][..], &["x"], &["-1"], &["+1"], &["1.0"], &[":1"], &["a:"], &["9223372036854775808"], &["1", "2"]]
    {
        assert_eq!(read(bad).unwrap_err().path, "/dpg-min-position", "{bad:?}");
    }
}

#[test]
fn forwarded_addresses_count_only_behind_trusted_proxies() {
    let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let read = |peer: &str, forwarded: &[&str]| {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for value in forwarded {
            request = request.append_header(("x-forwarded-for", *value));
        }
        client_address(&request.to_http_request(), &trusted).unwrap().to_string()
    };
    assert_eq!(read("192.0.2.9:1", &["203.0.113.5"]), "192.0.2.9", "not a proxy of ours");
    assert_eq!(read("10.0.0.1:1", &[]), "10.0.0.1");
    assert_eq!(read("10.0.0.1:1", &["198.51.100.7, 203.0.113.5, 10.0.0.2"]), "203.0.113.5");
    assert_eq!(read("10.0.0.1:1", &["198.51.100.7", "203.0.113.5"]), "203.0.113.5");
    assert_eq!(read("[::1]:1", &["[2001:db8::1]:80"]), "2001:db8::1");
    assert_eq!(read("[::ffff:10.0.0.1]:1", &["203.0.113.5:99"]), "203.0.113.5");
    assert_eq!(read("10.0.0.1:1", &["203.0.113.5, unknown"]), "10.0.0.1");
}
