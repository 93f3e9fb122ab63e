use serde_json::{Value, json};

use crate::http::coordinates::Coordinates;
use crate::http::fields::{Fields, collect, read_body};
use crate::http::query::Query;
use crate::http::references::{item_ref, item_ref_plus};
use crate::http::scalars::{
    boolean, instance_url, integer, name, number, number_or_text, object, one_of, owner, remarks, text, time, url, uuid,
};
use crate::http::{ApiError, Fault};

fn faults<T>(read: Result<T, ApiError>) -> Vec<(String, String)> {
    let Err(error) = read else { return Vec::new() };
    assert_eq!(error.code, "VALIDATION_ERROR");
    error.details.into_iter().map(|Fault { path, message }| (path, message)).collect()
}

fn paths<T>(read: Result<T, ApiError>) -> Vec<String> {
    faults(read).into_iter().map(|(path, _)| path).collect()
}

fn of_query<T>(text: &str, build: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, ApiError> {
    let query = Query::parse(text);
    collect(|faults| faults.query(&query, build))
}

#[test]
fn all_faults_are_collected() {
    let body = json!({"action_type": "", "action_id": "1", "remarks": "x".repeat(4001), "source_item": {"item_id": 1}});
    let read = read_body(&body, |f| {
        (
            f.required("action_type", name),
            f.required("action_id", uuid),
            f.optional("remarks", remarks),
            f.required("source_item", item_ref),
            f.required("target_item", item_ref_plus),
        )
    });
    assert_eq!(
        paths(read),
        [
            "/action_type",
            "/action_id",
            "/remarks",
            "/source_item/item_network",
            "/source_item/item_domain",
            "/source_item/item_type",
            "/source_item/item_id",
            "/target_item"
        ]
    );
    let not_an_object = read_body(&json!([]), |f| f.required("action_type", name));
    assert_eq!(faults(not_an_object), [(String::new(), "must be an object".to_owned())]);
}

#[test]
fn references_are_read() {
    let id = "019AA3C1-7F20-7B11-8C3D-2F4E5A6B7C8D";
    let body = json!({"target_item": {"item_network": "n", "item_domain": "d", "item_type": "t", "item_id": id,
        "item_instance_url": "https://b.example.org", "more": 1}});
    let read = read_body(&body, |f| f.required("target_item", item_ref_plus)).unwrap();
    assert_eq!(read.item.id.to_string(), id.to_lowercase());
    assert_eq!((read.item.network.as_str(), read.instance_url.as_str()), ("n", "https://b.example.org"));
    let scheme = json!({"item_instance_url": "ftp://b"});
    assert_eq!(paths(read_body(&scheme, |f| f.required("item_instance_url", instance_url))), ["/item_instance_url"]);
}

#[test]
fn another_spelling_is_accepted_and_must_agree() {
    let read = |body: Value| read_body(&body, |f| f.required(("action_type", "action_name"), name));
    assert_eq!(read(json!({"action_type": "a"})).unwrap(), "a");
    assert_eq!(read(json!({"action_name": "a"})).unwrap(), "a");
    assert_eq!(read(json!({"action_type": "a", "action_name": "a"})).unwrap(), "a");
    assert_eq!(paths(read(json!({"action_type": "a", "action_name": "b"}))), ["/action_type"]);
    assert_eq!(paths(read(json!({}))), ["/action_type"]);
}

#[test]
fn null_is_absent_only_where_it_may_be() {
    let body = json!({"remarks": null});
    assert_eq!(read_body(&body, |f| f.nullable("remarks", remarks)).unwrap(), None);
    assert_eq!(paths(read_body(&body, |f| f.optional("remarks", remarks))), ["/remarks"]);
    assert_eq!(paths(read_body(&body, |f| f.required("remarks", remarks))), ["/remarks"]);
}

#[test]
fn lengths_count_characters() {
    let body = json!({"t": "é".repeat(120), "u": "é".repeat(121)});
    assert!(read_body(&body, |f| f.required("t", name)).is_ok());
    assert_eq!(paths(read_body(&body, |f| f.required("u", name))), ["/u"]);
    assert!(read_body(&body, |f| f.required("u", owner)).is_ok());
    assert_eq!(paths(read_body(&body, |f| f.required("t", text(121..=130)))), ["/t"]);
}

#[test]
fn uuids_are_hyphenated() {
    let read = |text: &str| read_body(&json!({"id": text}), |f| f.required("id", uuid)).map(|id| id.to_string());
    for good in ["11111111-1111-1111-1111-111111111111", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(read(good).unwrap(), good);
    }
    for bad in [
        "",
        "019aa3c17f207b118c3d2f4e5a6b7c8d",
        "{019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d}",
        "019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8g",
        "019aa3c17-f20-7b11-8c3d-2f4e5a6b7c8d",
        "é19aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8",
    ] {
        assert_eq!(paths(read(bad)), ["/id"], "{bad}");
    }
}

#[test]
fn numbers_by_source() {
    let read = |value: Value| read_body(&json!({"n": value}), |f| f.required("n", integer(0..=1_000_000)));
    assert_eq!((read(json!(0)).unwrap(), read(json!(5.0)).unwrap(), read(json!(1e6)).unwrap()), (0, 5, 1_000_000));
    for bad in
        [json!(-1), json!(1_000_001), json!(0.5), json!("1"), json!(true), json!(u64::MAX), json!(1e300), json!(null)]
    {
        assert_eq!(paths(read(bad.clone())), ["/n"], "{bad}");
    }
    let read = |text: &str| of_query(&format!("n={text}"), |f| f.optional_number("n", integer(0..=100)));
    assert_eq!((read("").unwrap(), read("0").unwrap(), read("100").unwrap()), (None, Some(0), Some(100)));
    for bad in ["101", "-1", "1.0", "1e1", "%2B1", "x", "0x1", "%201", "99999999999999999999"] {
        assert_eq!(paths(read(bad)), ["/n"], "{bad}");
    }
    let read = |text: &str| of_query(&format!("n={text}"), |f| f.optional_number("n", number(-90.0..=90.0)));
    assert_eq!((read("18.5").unwrap(), read("-90").unwrap(), read("").unwrap()), (Some(18.5), Some(-90.0), None));
    for bad in ["91", "1e1", ".5", "5.", "NaN", "inf", "1,5", "--1"] {
        assert_eq!(paths(read(bad)), ["/n"], "{bad}");
    }
    let read = |value: Value| read_body(&json!({"n": value}), |f| f.required("n", number_or_text(0.0..=9.0)));
    assert_eq!((read(json!(1.5)).unwrap(), read(json!("1.5")).unwrap()), (1.5, 1.5));
    assert_eq!((paths(read(json!(""))), paths(read(json!("10")))), (vec!["/n".to_owned()], vec!["/n".to_owned()]));
}

#[test]
fn other_scalars() {
    let body = json!({"b": true, "t": "2026-11-21T01:53:13.435Z", "u": "urn:a:b", "s": "https://a/b#c", "long": format!("https://a/{}", "x".repeat(2048)), "blank": " https://a"});
    assert!(read_body(&body, |f| f.required("b", boolean)).unwrap());
    assert_eq!(of_query("b=false", |f| f.optional("b", boolean)).unwrap(), Some(false));
    assert_eq!(paths(of_query("b=1", |f| f.optional("b", boolean))), ["/b"]);
    let read = read_body(&body, |f| f.optional("t", time)).unwrap().unwrap();
    assert_eq!(read.timestamp_millis(), 1_795_225_993_435);
    assert_eq!(paths(read_body(&body, |f| f.optional("u", time))), ["/u"]);
    assert!(read_body(&body, |f| (f.required("u", url), f.required("s", instance_url))).is_ok());
    assert_eq!(paths(read_body(&body, |f| (f.required("long", url), f.required("blank", url)))), ["/long", "/blank"]);
    let role = |text: &str| of_query(text, |f| f.optional("role", one_of(&[("all", 0), ("initiated", 1)])));
    assert_eq!((role("role=initiated").unwrap(), role("").unwrap()), (Some(1), None));
    assert_eq!(faults(role("role=x"))[0].1, "must be one of all, initiated");
}

#[test]
fn coordinates_come_in_pairs() {
    let read = |body: Value| read_body(&body, |f| f.coordinates());
    assert_eq!(read(json!({})).unwrap(), Coordinates::Absent);
    assert_eq!(read(json!({"item_latitude": null, "item_longitude": null})).unwrap(), Coordinates::Null);
    let at = Coordinates::At { latitude: 90.0, longitude: -180.0 };
    assert_eq!(read(json!({"item_latitude": 90, "item_longitude": -180})).unwrap(), at);
    for (body, path) in [
        (json!({"item_latitude": 1}), "/item_longitude"),
        (json!({"item_longitude": 1}), "/item_latitude"),
        (json!({"item_latitude": null}), "/item_longitude"),
        (json!({"item_longitude": null}), "/item_latitude"),
        (json!({"item_latitude": null, "item_longitude": 1}), "/item_latitude"),
        (json!({"item_latitude": 1, "item_longitude": null}), "/item_longitude"),
        (json!({"item_latitude": 91, "item_longitude": 1}), "/item_latitude"),
        (json!({"item_latitude": 1, "item_longitude": "1"}), "/item_longitude"),
    ] {
        assert_eq!(paths(read(body.clone())), [path], "{body}");
    }
}

#[test]
fn unknown_keys_are_refused_only_on_request() {
    let body = json!({"item_state": {}, "other": 1});
    let read = |strict: bool| {
        read_body(&body, |f| {
            f.optional("item_state", object);
            f.coordinates();
            if strict {
                f.refuse_unknown();
            }
        })
    };
    assert!(read(false).is_ok());
    assert_eq!(paths(read(true)), ["/other"]);
}

#[test]
fn queries_become_trees() {
    let tree = |text: &str| {
        let query = Query::parse(text);
        assert!(query.faults().is_empty() && query.conflicts().is_empty(), "{query:?}");
        Value::Object(query.root().clone())
    };
    assert_eq!(tree(""), json!({}));
    assert_eq!(tree("a=1&&b&c="), json!({"a": "1", "b": "", "c": ""}));
    assert_eq!(
        tree("item_state[Full%20Name]=Asha+B&item_state%5Bcity%5D=P%26%3D"),
        json!({"item_state": {"Full Name": "Asha B", "city": "P&="}})
    );
    assert_eq!(tree("s[a][b]=c&s[a][d]=e"), json!({"s": {"a": {"b": "c", "d": "e"}}}));
    assert_eq!(tree("s[t][]=x&s[t][]=y"), json!({"s": {"t": ["x", "y"]}}));
    assert_eq!(tree("s[t][10]=z&s[t][2]=y&s[t][]=last"), json!({"s": {"t": ["y", "z", "last"]}}));
    assert_eq!(tree("s[t][0][k]=x&s[t][0][l]=y"), json!({"s": {"t": [{"k": "x", "l": "y"}]}}));
    assert_eq!(tree("s[y][2020]=x&s[m][0]=a&s[m][b]=c"), json!({"s": {"y": {"2020": "x"}, "m": {"0": "a", "b": "c"}}}));
    assert_eq!(tree("a[1][2][3][4][e]=x")["a"][0][0][0][0], json!({"e": "x"}));
}

#[test]
fn contradictions_count_against_what_is_read() {
    let read = |text: &str| of_query(text, |f| f.optional("s", crate::http::scalars::value));
    for bad in [
        "s=1&s=2",
        "s=1&s=1",
        "s=1&s[a]=2",
        "s[a]=1&s[a]=2",
        "s[a]=1&s[a][b]=2",
        "s[a][0]=1&s[a][0]=2",
        "s[]=1&s[a]=2",
        "s[a=1",
        "s[a]b=1",
        "s]=1&s[[a]]=1",
        "s[a][b][c][d][e][f]=1",
    ] {
        let found = paths(read(bad));
        assert!(!found.is_empty() && found.iter().all(|path| path.starts_with("/s")), "{bad}: {found:?}");
        assert!(of_query(bad, |f| f.optional("other", name)).is_ok(), "unknown parameters are ignored: {bad}");
    }
    assert_eq!(paths(of_query("a=1&b=2&a=1", |f| f.required(("c", "a"), name))), ["/a"]);
    for bad in ["x=%00", "x%00=1", "x=%ff", "s=%C3"] {
        assert_eq!(faults(read(bad)).len(), 1, "{bad}");
    }
    let many = |count: usize| vec!["x=1"; count].join("&");
    assert_eq!(paths(read(&many(1001))), [""]);
    assert!(read(&many(1000)).is_ok());
}
