//! CONTRACT 1: what holds for every route is asked of every route; what holds for a kind of value is asked where such a
//! value goes in.

use dpg_tests::client::Request;
use dpg_tests::network::{NETWORK, PROFILE, STUDENT, item_at};
use dpg_tests::{Answer, Client};
use reqwest::Method;
use serde_json::{Value, json};

use crate::catalogue::{Entry, Tier, all};
use crate::raw;
use crate::shapes::{faults, page, total};
use crate::suite::Suite;
use crate::world::{ADMIN_KEY, World};

pub async fn cases(suite: &mut Suite, world: &World) {
    for entry in all() {
        every_route(suite, world, &entry).await;
        if entry.body.is_some() {
            every_body(suite, world, &entry).await;
        }
    }
    request_ids(suite, world).await;
    scalars(suite, world).await;
    numbers(suite, world).await;
    queries(suite, world).await;
}

/// The route's request with the credentials of its tier, without a body.
fn request(world: &World, entry: &Entry) -> Request {
    let method = Method::from_bytes(entry.method.as_bytes()).expect("a method");
    match entry.tier {
        Tier::User | Tier::Session => world.asha.request(method, &entry.path),
        Tier::Open | Tier::Peer => world.nobody().request(method, &entry.path),
        Tier::Admin => world.nobody().request(method, &entry.path).header("x-admin-key", ADMIN_KEY),
    }
}

async fn every_route(suite: &mut Suite, world: &World, entry: &Entry) {
    let mut route = suite.route(entry.title);
    let method = Method::from_bytes(entry.method.as_bytes()).expect("a method");
    let (path, query) = entry.path.split_once('?').unwrap_or((&entry.path, ""));
    let nobody = world.nobody();
    if path != "/" {
        route
            .case("the path is exact: a trailing or doubled slash or another case is 404", async {
                for other in [format!("{path}/"), path.replacen('/', "//", 1), path.to_uppercase()] {
                    nobody.request(method.clone(), &other).send().await.expect_error(404, "NOT_FOUND");
                }
            })
            .await;
    }
    route
        .case("another method is 405 with allow, whoever asks", async {
            let answer = nobody.request(Method::PUT, &entry.path).send().await;
            answer.expect_error(405, "METHOD_NOT_ALLOWED");
            let allow: Vec<&str> = answer.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
            assert!(allow.contains(&entry.method), "allow: {allow:?}: {answer}");
        })
        .await;
    route
        .case("OPTIONS that is no preflight is 204 with allow", async {
            let answer = nobody.request(Method::OPTIONS, &entry.path).send().await.expect(204);
            assert!(answer.header("allow").is_some_and(|allow| allow.contains(entry.method)), "{:?}", answer.headers);
        })
        .await;
    if entry.method == "GET" {
        route
            .case("HEAD works where GET does", async {
                let got = request(world, entry).send().await;
                let head = Entry { method: "HEAD", path: entry.path.clone(), body: None, ..*entry };
                let head = request(world, &head).send().await;
                assert_eq!((head.status, head.text.as_str()), (got.status, ""), "{head}");
                assert_eq!(head.header("content-type"), got.header("content-type"), "{head}");
            })
            .await;
    } else {
        route
            .case("a declared length over 1 MiB is 413 before credentials", async {
                let answer = raw::declare(world.a_url(), entry.method, &entry.path, 1_048_577).await;
                assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
                assert!(answer.to_lowercase().contains("x-request-id"), "{answer}");
            })
            .await;
    }
    if matches!(entry.tier, Tier::User | Tier::Session | Tier::Admin) {
        route
            .case("without credentials a bad body or query is 401", async {
                let path = if query.is_empty() { entry.path.clone() } else { format!("{path}?limit=wrong") };
                let answer = nobody.request(method.clone(), &path).raw("text/plain", "{").send().await;
                answer.expect_error(401, "UNAUTHORIZED");
            })
            .await;
    }
    if entry.body.is_none() && entry.method != "GET" && entry.title != "POST /api/v1/network/refetch_schemas" {
        route
            .case("an empty body may have any content type", async {
                let plain = request(world, entry).send().await;
                let typed = request(world, entry).raw("text/plain", "").send().await;
                assert_eq!(typed.status, plain.status, "{typed}");
            })
            .await;
    }
}

async fn every_body(suite: &mut Suite, world: &World, entry: &Entry) {
    let mut route = suite.route(entry.title);
    let good = entry.body.clone().expect("a route with a body");
    let send = async |media_type: &str, text: String| request(world, entry).raw(media_type, text).send().await;
    route
        .case("a body that is not declared as JSON is 415", async {
            for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
                send(media_type, good.to_string()).await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
            }
        })
        .await;
    route
        .case("parameters of the content type are allowed", async {
            let answer = send("application/json; charset=utf-8", "[]".to_owned()).await;
            answer.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
    route
        .case("what is no JSON is 400 INVALID_JSON", async {
            let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
            let nested = format!("{{\"x\":{deep}}}");
            for text in [
                "",
                "{",
                "{} {}",
                "{\"a\":1,}",
                &nested,
                r#"{"x":"\ud800"}"#,
                r#"{"x":1e999}"#,
                r#"{"x":18446744073709551616}"#,
                r#"{"x":-9223372036854775809}"#,
                r#"{"x":NaN}"#,
            ] {
                send("application/json", text.to_owned()).await.expect_error(400, "INVALID_JSON");
            }
        })
        .await;
    route
        .case("JSON that is no object is 400 VALIDATION_ERROR", async {
            for text in ["[]", "5", "null", "\"text\""] {
                send("application/json", text.to_owned()).await.expect_error(400, "VALIDATION_ERROR");
            }
        })
        .await;
    route
        .case("U+0000 in a string or a key is 400", async {
            let mut text = good.clone();
            text["more"] = json!("a\u{0}b");
            let mut key = good.clone();
            key["mo\u{0}re"] = json!(1);
            let mut inner = good.clone();
            inner["more"] = json!({"list": [{"a\u{0}": 1}]});
            for body in [text, key, inner] {
                send("application/json", body.to_string()).await.expect_error(400, "VALIDATION_ERROR");
            }
        })
        .await;
    // Of these two nothing is required, or the absence has a code of its own.
    if entry.path.ends_with("check-user") || entry.path.ends_with("api-key/create") {
        return;
    }
    route
        .case("every required field that is missing is named", async {
            let answer = send("application/json", "{}".to_owned()).await;
            answer.expect_error(400, "VALIDATION_ERROR");
            let required = good.as_object().expect("an object").keys();
            let optional = ["item_state", "email", "reason", "events"];
            let named: Vec<String> =
                required.filter(|key| !optional.contains(&key.as_str())).map(|key| format!("/{key}")).collect();
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            faults(&answer, "VALIDATION_ERROR", &named);
        })
        .await;
}

async fn request_ids(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.1 HTTP");
    let nobody = world.nobody();
    route
        .case("1 to 200 visible characters of x-request-id are echoed, in the body too", async {
            for id in ["a", "5f0c8d1e", "!~#", &"x".repeat(200)] {
                let answer = nobody.get("/api/v1/item/fetch").header("x-request-id", id).send().await;
                assert_eq!(answer.header("x-request-id"), Some(id));
                assert_eq!(answer.body["request_id"], json!(id));
            }
        })
        .await;
    route
        .case("another x-request-id is replaced", async {
            for id in ["", "a b", &"x".repeat(201), "caf\u{e9}"] {
                let answer = nobody.get("/health/live").header("x-request-id", id).send().await.expect(200);
                assert_ne!(answer.header("x-request-id"), Some(id));
            }
        })
        .await;
    route
        .case("unknown routes are 404, whatever the method", async {
            for path in ["/nothing", "/api", "/api/v1", "/api/v1/item", "/api/auth", "/api/v1/action/fetch-events"] {
                for method in [Method::GET, Method::POST, Method::DELETE] {
                    nobody.request(method, path).send().await.expect_error(404, "NOT_FOUND");
                }
            }
        })
        .await;
    route
        .case("unknown keys in bodies and queries are ignored", async {
            let body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE,
                "item_state": {"name": "Asha"}, "unknown": {"x": 1}});
            let _made = world.asha.post("/api/v1/item/create").json(&body).send().await.expect(201);
            let _page = world.asha.items(STUDENT, "unknown=1&other[x]=2").send().await.expect(200);
        })
        .await;
    route
        .case("a body of exactly 1 MiB is read", async {
            let mut body = json!({"item_network": NETWORK, "item_domain": "nowhere", "item_type": PROFILE, "x": ""});
            body["x"] = json!("x".repeat(1_048_576 - body.to_string().len()));
            assert_eq!(body.to_string().len(), 1_048_576);
            let answer = world.asha.post("/api/v1/item/create").json(&body).send().await;
            answer.expect_error(403, "UNSERVED_DOMAIN_BINDING");
        })
        .await;
}

async fn create(client: &Client, change: &Value) -> Answer {
    let mut body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE,
                          "item_state": {"name": "Asha"}});
    for (key, value) in change.as_object().expect("an object") {
        body[key] = value.clone();
    }
    client.post("/api/v1/item/create").json(&body).send().await
}

async fn scalars(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.4 scalars");
    let long = |length: usize| json!("x".repeat(length));
    let rows = [
        ("an empty string is refused where a character is needed", json!({"item_type": ""}), "/item_type"),
        ("a network of 121 characters is refused", json!({"item_network": long(121)}), "/item_network"),
        ("a domain of 121 characters is refused", json!({"item_domain": long(121)}), "/item_domain"),
        ("a type of 121 characters is refused", json!({"item_type": long(121)}), "/item_type"),
        ("created_by of 256 characters is refused", json!({"created_by": long(256)}), "/created_by"),
        ("a latitude beyond 90 is refused", json!({"item_latitude": 90.1, "item_longitude": 0}), "/item_latitude"),
        (
            "a longitude beyond -180 is refused",
            json!({"item_latitude": 0, "item_longitude": -180.5}),
            "/item_longitude",
        ),
        ("a coordinate as text is refused", json!({"item_latitude": "1", "item_longitude": 1}), "/item_latitude"),
    ];
    for (name, change, place) in rows {
        route.case(name, async { faults(&create(&world.asha, &change).await, "VALIDATION_ERROR", &[place]) }).await;
    }
    for change in
        [json!({"item_latitude": 1}), json!({"item_longitude": 1}), json!({"item_latitude": 1, "item_longitude": null})]
    {
        route
            .case(format!("half a place is refused: {change}"), async {
                create(&world.asha, &change).await.expect_error(400, "VALIDATION_ERROR");
            })
            .await;
    }
    for change in
        [json!({"item_latitude": null, "item_longitude": null}), json!({"item_latitude": -90, "item_longitude": 180})]
    {
        route
            .case(format!("a whole place or none is accepted: {change}"), async {
                let _made = create(&world.asha, &change).await.expect(201);
            })
            .await;
    }
    route
        .case("120 characters are counted as characters, not bytes", async {
            create(&world.asha, &json!({"item_type": "\u{939}".repeat(120)}))
                .await
                .expect_error(400, "INVALID_ITEM_STATE");
        })
        .await;
    route
        .case("any uuid is a uuid, in any case, and answered in lower case", async {
            for id in [
                "11111111-1111-1111-1111-111111111111",
                "00000000-0000-0000-0000-000000000000",
                "ABCDEFAB-CDEF-ABCD-EFAB-CDEFABCDEFAB",
            ] {
                let page_of = world.asha.items(STUDENT, &format!("item_id={id}")).send().await;
                assert_eq!(total(&page_of), 0);
            }
            let item = world.student().await;
            let upper = item["item_id"].as_str().expect("an id").to_uppercase();
            let found = world.asha.items(STUDENT, &format!("item_id={upper}")).send().await;
            assert_eq!(page(&found, "items")[0]["item_id"], item["item_id"]);
        })
        .await;
    for id in [
        "1",
        "019aa3c17f207b118c3d2f4e5a6b7c8d",
        "{019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8d}",
        "019aa3c1-7f20-7b11-8c3d-2f4e5a6b7c8g",
    ] {
        route
            .case(format!("not a uuid: {id}"), async {
                let path = format!("item_id={}", id.replace('{', "%7B").replace('}', "%7D"));
                faults(&world.asha.items(STUDENT, &path).send().await, "VALIDATION_ERROR", &["/item_id"]);
            })
            .await;
    }
    route
        .case("remarks over 4000 characters are refused", async {
            let body = json!({"action_id": uuid::Uuid::new_v4(), "action_status": "accepted", "remarks": long(4001)});
            let answer = world.asha.post("/api/v1/action/update-status").json(&body).send().await;
            faults(&answer, "VALIDATION_ERROR", &["/remarks"]);
        })
        .await;
    route
        .case("a URL over 2048 bytes is refused", async {
            let mut target = item_at("http://nowhere.example", STUDENT);
            target["item_instance_url"] = json!(format!("http://nowhere.example/{}", "x".repeat(2030)));
            let item = world.student().await;
            let answer = world.asha.perform(&item, &target).send().await;
            faults(&answer, "VALIDATION_ERROR", &["/target_item/item_instance_url"]);
        })
        .await;
}

async fn numbers(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.4 numbers");
    for number in ["18446744073709551615", "-9223372036854775808", "1e308", "0.1", "1e-400", "-0"] {
        route
            .case(format!("{number} is a number"), async {
                let text = format!(
                    r#"{{"item_network":"{NETWORK}","item_domain":"{STUDENT}","item_type":"{PROFILE}","item_state":{{"name":"Asha","extra":{{"n":{number}}}}}}}"#
                );
                let made = world.asha.post("/api/v1/item/create").raw("application/json", text).send().await.expect(201);
                assert!(made.body["item_state"]["extra"]["n"].is_number(), "{made}");
            })
            .await;
    }
}

async fn queries(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.5 query strings, 1.7 paging");
    let rows = [
        ("a repeated scalar", "item_type=a&item_type=b", "/item_type"),
        ("item_state as JSON text", "item_state=%7B%22city%22%3A%22Pune%22%7D", "/item_state"),
        ("limit 0", "limit=0", "/limit"),
        ("limit 101", "limit=101", "/limit"),
        ("limit as a word", "limit=ten", "/limit"),
        ("limit as a fraction", "limit=1.5", "/limit"),
        ("a negative offset", "offset=-1", "/offset"),
        ("page 0", "page=0", "/page"),
        ("an unreadable cursor", "cursor=nonsense", "/cursor"),
        ("an empty text filter", "item_type=", "/item_type"),
        ("U+0000 in a value", "item_type=a%00b", "/item_type"),
        ("a latitude without the rest", "item_latitude=1", ""),
        ("a latitude beyond its range", "item_latitude=91&item_longitude=0&radius_meters=5", "/item_latitude"),
        ("a radius of nothing", "item_latitude=1&item_longitude=0&radius_meters=0", "/radius_meters"),
        ("an item_instance_url that is none", "item_instance_url=nowhere", "/item_instance_url"),
    ];
    for (name, query, place) in rows {
        route
            .case(format!("{name} is 400"), async {
                let places: &[&str] = if place.is_empty() { &[] } else { &[place] };
                faults(&world.asha.items(STUDENT, query).send().await, "VALIDATION_ERROR", places);
            })
            .await;
    }
    for query in ["offset=1&page=2", "offset=0&cursor=x", "page=1&cursor=x"] {
        route
            .case(format!("two starts are 400: {query}"), async {
                world.asha.items(STUDENT, query).send().await.expect_error(400, "VALIDATION_ERROR");
            })
            .await;
    }
    for query in ["limit=", "offset=", "item_latitude=&item_longitude=&radius_meters=", "radius_meters=5", "page="] {
        route
            .case(format!("an empty number is absent: {query}"), async {
                let found = world.asha.items(STUDENT, query).send().await;
                page(&found, "items");
                assert_eq!(found.body["meta"]["limit"], json!(20));
                assert_eq!(found.body["meta"]["offset"], json!(0));
            })
            .await;
    }
    route
        .case("1000 parameters are read, 1001 are 400", async {
            let many = |count: usize| (0..count).map(|n| format!("x{n}=1")).collect::<Vec<_>>().join("&");
            let _page = world.asha.items(STUDENT, &many(998)).send().await.expect(200);
            world.asha.items(STUDENT, &many(999)).send().await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
    route
        .case("all faults are reported together", async {
            let answer = world.asha.get("/api/v1/item/fetch?limit=x&item_id=y").send().await;
            faults(&answer, "VALIDATION_ERROR", &["/item_network", "/item_domain", "/limit", "/item_id"]);
        })
        .await;
}
