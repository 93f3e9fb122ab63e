//! Whatever a client sends: the status and code of the contract, never a 5xx, and nothing written.

use dpg_tests::network::{NETWORK, PROFILE, STUDENT};
use dpg_tests::{Answer, Node, User};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CREATE: &str = "/api/v1/item/create";

async fn counts(node: &Node) -> Vec<i64> {
    let client = node.instance.database.client().await;
    let mut counts = Vec::new();
    for table in ["event_log", "stream_heads", "item_private", "idempotency", "outbox", "items_live.items"] {
        counts.push(client.query_one(&format!("select count(*) from {table}"), &[]).await.expect("a table").get(0));
    }
    counts
}

fn body(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE,
                          "item_state": {"name": "Asha"}});
    change(&mut body);
    body
}

async fn create(user: &User, change: impl FnOnce(&mut Value)) -> Answer {
    user.post(CREATE).json(&body(change)).send().await
}

async fn create_raw(user: &User, text: impl Into<Vec<u8>>) -> Answer {
    user.post(CREATE).raw("application/json", text).send().await
}

#[track_caller]
fn assert_faults(answer: &Answer, code: &str, paths: &[&str]) {
    answer.expect_error(400, code);
    let details = answer.body["details"].as_array().unwrap_or_else(|| panic!("no details: {answer}"));
    for path in paths {
        let told = details.iter().any(|detail| detail["path"] == json!(path) && detail["message"].is_string());
        assert!(told, "{path} is not named: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_json_is_invalid_json() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let before = counts(&node).await;
    let deep = format!("{{\"item_state\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let state = |text: &str| {
        let head = format!(r#"{{"item_network":"{NETWORK}","item_domain":"{STUDENT}","item_type":"{PROFILE}""#);
        format!(r#"{head},"item_state":{{"name":"Asha","extra":{{"a":{text}}}}}}}"#)
    };
    let texts = [
        String::new(),
        "{".to_owned(),
        "not json".to_owned(),
        "{\"a\":1,}".to_owned(),
        "{} {}".to_owned(),
        deep,
        state(&format!("{}1{}", "{\"a\":".repeat(140), "}".repeat(140))),
        state("\"\\ud800\""),
        state("1e999"),
        state("99999999999999999999999"),
        state("-9223372036854775809"),
        state("NaN"),
    ];
    for text in texts {
        let shown: String = text.chars().take(120).collect();
        let answer = create_raw(&user, text).await;
        assert_eq!((answer.status, answer.code()), (400, "INVALID_JSON"), "{shown}: {answer}");
    }
    create_raw(&user, vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']).await.expect_error(400, "INVALID_JSON");
    for text in ["[]", "5", "\"text\"", "null"] {
        let answer = create_raw(&user, text).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_ERROR"), "{text}: {answer}");
    }
    assert_eq!(counts(&node).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_all_named_together() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let before = counts(&node).await;
    let answer = user.post(CREATE).json(&json!({"item_domain": 5, "item_type": "", "item_latitude": 91})).send().await;
    assert_faults(&answer, "VALIDATION_ERROR", &["/item_network", "/item_domain", "/item_type", "/item_latitude"]);

    let long = "x".repeat(121);
    let answer = create(&user, |body| body["item_type"] = json!(long)).await;
    assert_faults(&answer, "VALIDATION_ERROR", &["/item_type"]);
    for (latitude, longitude) in [
        (json!(18.5), json!(null)),
        (json!(null), json!(73.8)),
        (json!(91), json!(0)),
        (json!(-90.5), json!(0)),
        (json!(0), json!(180.1)),
        (json!("18.5"), json!("73.8")),
        (json!(true), json!(false)),
    ] {
        let answer = create(&user, |body| {
            body["item_latitude"] = latitude.clone();
            body["item_longitude"] = longitude.clone();
        })
        .await;
        assert_faults(&answer, "VALIDATION_ERROR", &[]);
    }
    let answer = create(&user, |body| body["item_longitude"] = json!(73.8)).await;
    assert_faults(&answer, "VALIDATION_ERROR", &[]);
    let answer = create(&user, |body| body["network"] = json!("another")).await;
    assert_faults(&answer, "VALIDATION_ERROR", &[]);

    for state in [json!({"name": "a\u{0}b"}), json!({"name": "a", "extra": {"k\u{0}": 1}}), json!({"name": ["\u{0}"]})]
    {
        let answer = create(&user, |body| body["item_state"] = state.clone()).await;
        assert_faults(&answer, "VALIDATION_ERROR", &[]);
    }
    let answer = create(&user, |body| body["item_domain"] = json!("stu\u{0}dent")).await;
    assert_faults(&answer, "VALIDATION_ERROR", &[]);
    assert_eq!(counts(&node).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_do_not_fit_are_refused_with_paths() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let item = user.create_student("Asha").await;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    let before = counts(&node).await;
    let wrong = json!({"phone": "12", "diary": 5, "contacts": [{"number": 1}]});
    let answer = create(&user, |body| body["item_state"] = wrong.clone()).await;
    let paths = ["/item_state", "/item_state/phone", "/item_state/diary", "/item_state/contacts/0/number"];
    assert_faults(&answer, "INVALID_ITEM_STATE", &paths);
    assert!(!answer.text.contains("\"12\""), "a message holds a private value: {answer}");
    let answer = user.patch(&path).json(&json!({"item_state": wrong})).send().await;
    assert_faults(&answer, "INVALID_ITEM_STATE", &paths);

    for state in [json!([]), json!("text"), json!(5)] {
        let answer = create(&user, |body| body["item_state"] = state.clone()).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
    let answer = user.patch(&path).json(&json!({"item_state": null})).send().await;
    assert_eq!(answer.status, 400, "{answer}");
    let answer = create(&user, |body| body["item_type"] = json!("unknown_1.0")).await;
    answer.expect_error(400, "INVALID_ITEM_STATE");
    for body in [json!({}), json!({"item_state": {"name": "A"}, "surprise": 1}), json!({"item_latitude": 5})] {
        let answer = user.patch(&path).json(&body).send().await;
        assert_faults(&answer, "VALIDATION_ERROR", &[]);
    }
    assert_eq!(counts(&node).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_told_so() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let before = counts(&node).await;
    for (network, domain) in [(NETWORK, "astronaut"), ("unknown_network", STUDENT), ("x", "y")] {
        let answer = create(&user, |body| {
            body["item_network"] = json!(network);
            body["item_domain"] = json!(domain);
        })
        .await;
        answer.expect_error(403, "UNSERVED_DOMAIN_BINDING");
        let requested = json!({"network": network, "domain": domain, "key": format!("{network}/{domain}")});
        assert_eq!(answer.body["requested"], requested, "{answer}");
        let bindings = json!([format!("{NETWORK}/student"), format!("{NETWORK}/tutor")]);
        assert_eq!(answer.body["allowed_bindings"], bindings, "{answer}");
        assert_eq!(answer.body["allowed_networks"], json!([NETWORK]), "{answer}");
        let query = format!("/api/v1/item/fetch?item_network={network}&item_domain={domain}");
        user.get(&query).send().await.expect_error(403, "UNSERVED_DOMAIN_BINDING");
    }
    assert_eq!(counts(&node).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let before = counts(&node).await;
    let address = node.process.url().replace("http://", "");
    let head = format!(
        "POST {CREATE} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        user.token
    );
    // Declared: refused without a byte of it, and without credentials too.
    for credentials in [true, false] {
        let head = if credentials { head.clone() } else { head.replace(&user.token, "nobody") };
        let answer = exchange(&address, format!("{head}content-length: 2097152\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
    }
    // Not declared: refused on the way.
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..20 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b' ', 0x10000));
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = exchange(&address, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");

    // The largest body that fits is not refused for its size.
    let padding = 1_048_576 - body(|_| {}).to_string().len();
    let mut text = body(|_| {}).to_string();
    text.push_str(&" ".repeat(padding));
    assert_eq!(create_raw(&user, text).await.status, 201);
    let mut text = body(|_| {}).to_string();
    text.push_str(&" ".repeat(padding + 1));
    let answer = user.post(CREATE).raw("application/json", text).try_send().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 413));
    assert_eq!(counts(&node).await[0], before[0] + 1);
}

/// Sends bytes and reads until the answer's body is there. The server may stop reading before all is sent.
async fn exchange(address: &str, bytes: &[u8]) -> String {
    let (mut reading, mut writing) = TcpStream::connect(address).await.expect("a connection").into_split();
    let write = async {
        if writing.write_all(bytes).await.is_err() {
            // The server has answered and closed.
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let (mut answer, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = reading.read(&mut part).await {
            answer.extend_from_slice(&part[..read]);
            if String::from_utf8_lossy(&answer).contains("\"request_id\"") {
                break;
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::select! { answer = read => answer, () = write => String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_methods_and_media_types_are_checked_in_order() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let nobody = node.process.client();
    for path in ["/api/v1/nothing", "/api/v1/item/create/", "/api/v1//item/create", "/API/v1/item/create", "/nothing"] {
        user.post(path).json(&json!({})).send().await.expect_error(404, "NOT_FOUND");
    }
    nobody.get("/api/v1/action/fetch-events").send().await.expect_error(404, "NOT_FOUND");
    let wrong = nobody.delete(CREATE).send().await;
    wrong.expect_error(405, "METHOD_NOT_ALLOWED");
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("POST")), "{wrong}");
    // Credentials come before the body.
    nobody.post(CREATE).raw("application/json", "{").send().await.expect_error(401, "UNAUTHORIZED");
    nobody.post(CREATE).raw("text/plain", "{").send().await.expect_error(401, "UNAUTHORIZED");
    user.post(CREATE).raw("text/plain", "{}").send().await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    let parameters = user.post(CREATE).raw("application/json; charset=utf-8", body(|_| {}).to_string()).send().await;
    assert_eq!(parameters.status, 201, "{parameters}");
    let mine = user.post(CREATE).json(&json!({})).header("x-request-id", "my-own-id").send().await;
    mine.expect_error(400, "VALIDATION_ERROR");
    assert_eq!(mine.header("x-request-id"), Some("my-own-id"));
    assert!(mine.header("vary").is_some_and(|vary| vary.contains("Origin")), "{:?}", mine.headers);
    assert_eq!(mine.header("content-type"), Some("application/json; charset=utf-8"));
    for path in ["/", "/health/live", "/health/ready", "/api/v1/network/schemas"] {
        let head = nobody.request(reqwest::Method::HEAD, path).send().await;
        assert!(head.status == 200 && head.text.is_empty(), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_headers_and_ids_are_checked() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let item = user.create_student("Asha").await;
    let before = counts(&node).await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=many",
        "limit=1.5",
        "offset=-1",
        "offset=1&page=1",
        "limit=1&limit=2",
        "item_id=nonsense",
        "item_type=",
        "item_state={\"city\":\"Pune\"}",
        "item_state[a][b][c][d][e][f]=1",
        "item_latitude=18.5",
        "item_latitude=91&item_longitude=0&radius_meters=5",
        "item_latitude=18&item_longitude=73&radius_meters=0",
        "cursor=nonsense",
        "item_state[city]=a%00b",
        "network=another",
    ] {
        let answer = user.items(STUDENT, query).send().await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_ERROR"), "{query}: {answer}");
    }
    for query in ["limit=", "item_latitude=&item_longitude=", "radius_meters=5", "unknown=1", "created_by_me=true"] {
        let answer = user.items(STUDENT, query).send().await.expect(200);
        assert_eq!(answer.body["meta"]["total"], json!(1), "{answer}");
        assert_eq!(answer.body["meta"]["limit"], json!(20), "{answer}");
    }
    for (query, total) in [("item_state[years]=5", 1), ("item_state[years]=6", 0), ("item_state[name]=Asha", 1)] {
        let answer = user.items(STUDENT, query).send().await.expect(200);
        assert_eq!(answer.body["meta"]["total"], json!(total), "{answer}");
    }
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    let checks = [
        user.items(STUDENT, "").header("dpg-min-position", "soon").send().await,
        user.items(STUDENT, "").header("dpg-min-position", "unknown_network:1").send().await,
        user.delete(&path).header("if-match", "nonsense").send().await,
        user.post(CREATE).json(&body(|_| {})).header("idempotency-key", &"k".repeat(256)).send().await,
        user.post(CREATE).json(&body(|_| {})).header("idempotency-key", "a b").send().await,
        user.update_status("nonsense", "accepted").send().await,
        user.update_status("11111111-1111-1111-1111-111111111111", "").send().await,
        user.get("/api/v1/action/fetch?ownership_role=mine").send().await,
        user.get("/api/v1/event/fetch?update_count=-1").send().await,
        user.patch("/api/v1/item/nonsense").json(&json!({"item_state": {}})).send().await,
        user.post("/api/v1/action/perform").json(&json!({"action_type": 5})).send().await,
        user.post("/api/v1/event/store").json(&json!({"update_count": -1})).send().await,
        user.post("/api/v1/network/action/perform").json(&json!({})).send().await,
    ];
    for answer in &checks {
        answer.expect_error(400, "VALIDATION_ERROR");
    }
    user.delete(&path).header("if-match", "\"7\"").send().await.expect_error(412, "PRECONDITION_FAILED");
    user.delete(&path).header("if-match", "W/\"1\"").send().await.expect_error(412, "PRECONDITION_FAILED");
    let absent = "/api/v1/item/11111111-1111-1111-1111-111111111111";
    user.delete(absent).send().await.expect_error(404, "ITEM_NOT_FOUND_OR_FORBIDDEN");
    let behind = user.items(STUDENT, "").header("dpg-min-position", "1000000").send().await;
    behind.expect_error(503, "PROJECTION_BEHIND");
    assert_eq!(behind.header("retry-after"), Some("1"));
    assert_eq!(counts(&node).await, before);
}
