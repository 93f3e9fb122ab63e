//! CONTRACT 4.5, 4.8 and 1.6 to 1.8: an owner reads items, filters them, pages through them and reads their history.

use std::collections::BTreeSet;

use dpg_tests::User;
use dpg_tests::network::{NETWORK, STUDENT, student_state};
use serde_json::{Value, json};

use crate::items::path;
use crate::shapes::{Is, faults, item, keys, page, total, unserved};
use crate::suite::Suite;
use crate::world::World;

pub async fn cases(suite: &mut Suite, world: &World) {
    fetch(suite, world).await;
    filters(suite, world).await;
    places(suite, world).await;
    paging(suite, world).await;
    positions(suite, world).await;
    history(suite, world).await;
}

fn id(item: &Value) -> &str {
    item["item_id"].as_str().expect("an id")
}

async fn fetch(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/item/fetch");
    route
        .case("200: the caller's own, private values merged, newest first, ties by id", async {
            let owner = world.a.sign_up("owner").await;
            let mut made = Vec::new();
            for _ in 0..3 {
                made.push(owner.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body);
            }
            let answer = owner.items(STUDENT, "cache_ttl_seconds=5&created_by_me=true").send().await;
            let rows = page(&answer, "items");
            rows.iter().for_each(item);
            made.sort_by_key(|item| (item["created_at"].to_string(), item["item_id"].to_string()));
            made.reverse();
            assert_eq!(rows, made);
            assert_eq!(answer.body["meta"], json!({"total": 3, "limit": 20, "offset": 0, "next_cursor": null}));
        })
        .await;
    route
        .case("admins see only their own", async {
            let made = world.student().await;
            let clients: [&dpg_tests::Client; 2] = [&world.admin, &world.admin_key];
            for client in clients {
                assert_eq!(total(&client.items(STUDENT, &format!("item_id={}", id(&made))).send().await), 0);
            }
        })
        .await;
    route
        .case("ETag on a fetch narrowed to one row by item_id, and only then", async {
            let made = world.student().await;
            let change = json!({"item_latitude": 1, "item_longitude": 1});
            let _two = world.asha.patch(&path(&made)).json(&change).send().await.expect(200);
            for _ in 0..2 {
                let one = world.asha.items(STUDENT, &format!("item_id={}", id(&made))).send().await.expect(200);
                assert_eq!(one.header("etag"), Some("\"2\""));
            }
            let none = world.asha.items(STUDENT, &format!("item_id={}", uuid::Uuid::new_v4())).send().await.expect(200);
            assert_eq!(none.header("etag"), None);
            let many = world.asha.items(STUDENT, "limit=1").send().await.expect(200);
            assert_eq!(many.header("etag"), None);
        })
        .await;
    route
        .case("403 unserved; an unknown type is an empty list", async {
            for (network, domain) in [(NETWORK, "tutor"), ("elsewhere", STUDENT)] {
                let path = format!("/api/v1/item/fetch?item_network={network}&item_domain={domain}");
                unserved(&world.asha.get(&path).send().await, network, domain, &[STUDENT]);
            }
            assert_eq!(total(&world.asha.items(STUDENT, "item_type=unknown").send().await), 0);
        })
        .await;
    route
        .case("network and domain are accepted spellings; contradicting ones are 400", async {
            let spelled = format!("/api/v1/item/fetch?network={NETWORK}&domain={STUDENT}&limit=1");
            let _page = world.asha.get(&spelled).send().await.expect(200);
            world.asha.items(STUDENT, "network=other").send().await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
    route
        .case("x-cache: a second identical read is a hit, a write makes the next a miss", async {
            let owner = world.a.sign_up("owner").await;
            let _made = owner.create_student("Asha").await;
            let _first = owner.items(STUDENT, "limit=7").send().await.expect(200);
            let second = owner.items(STUDENT, "limit=7").send().await.expect(200);
            assert_eq!(second.header("x-cache"), Some("hit"), "{second}");
            let _made = owner.create_student("Asha").await;
            let third = owner.items(STUDENT, "limit=7").send().await.expect(200);
            assert_eq!((third.header("x-cache"), total(&third)), (Some("miss"), 2));
        })
        .await;
}

/// One person with items that differ.
async fn collection(world: &World) -> (User, Vec<Value>) {
    let owner = world.a.sign_up("collector").await;
    let mut made = Vec::new();
    for (city, years, tags) in [("Pune", 5, json!(["a", "b"])), ("Pune", 6, json!(["b"])), ("Goa", 5, json!([]))] {
        let state = json!({"name": "Full Name", "city": city, "years": years, "tags": tags, "phone": "1234567890",
            "diary": "secret", "extra": {"Full Name": "Asha", "flag": true, "text": "5", "deep": {"er": {"still": 1}}}});
        made.push(owner.create(STUDENT, &state).send().await.expect(201).body);
    }
    (owner, made)
}

async fn filters(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.6 filters");
    let mut collected = None;
    route.case("items to filter are made", async { collected = Some(collection(world).await) }).await;
    let Some((owner, made)) = collected else { return };
    for (name, query, found) in [
        ("text", "item_state[city]=Pune".to_owned(), 2),
        ("a number by its digits", "item_state[years]=5".to_owned(), 2),
        ("text that is digits", "item_state[extra][text]=5".to_owned(), 3),
        ("a boolean by its name", "item_state[extra][flag]=true".to_owned(), 3),
        ("another boolean", "item_state[extra][flag]=false".to_owned(), 0),
        ("two leaves must both hold", "item_state[city]=Pune&item_state[years]=5".to_owned(), 1),
        ("an array's element, [] form", "item_state[tags][]=b".to_owned(), 2),
        ("array elements in any order", "item_state[tags][0]=b&item_state[tags][1]=a".to_owned(), 1),
        ("an encoded key", "item_state[extra][Full%20Name]=Asha".to_owned(), 3),
        ("encoded brackets", "item_state%5Bcity%5D=Goa".to_owned(), 1),
        ("depth 5", "item_state[extra][deep][er][still]=1".to_owned(), 3),
        ("a private property matches nothing", "item_state[phone]=1234567890".to_owned(), 0),
        ("another private property", "item_state[diary]=secret".to_owned(), 0),
        ("item_id", format!("item_id={}", id(&made[0])), 1),
        ("item_type", "item_type=profile_1.0".to_owned(), 3),
        ("item_schema_url", format!("item_schema_url={}", made[0]["item_schema_url"].as_str().expect("a url")), 3),
        ("another item_schema_url", "item_schema_url=http%3A%2F%2Fnowhere.example%2F".to_owned(), 0),
        (
            "item_instance_url, another alias of ours",
            format!("item_instance_url={}/path", world.a_url().replace("127.0.0.1", "LOCALHOST")),
            3,
        ),
        ("another instance", "item_instance_url=http%3A%2F%2Fnowhere.example".to_owned(), 0),
    ] {
        route
            .case(name, async {
                let answer = owner.items(STUDENT, &query).send().await;
                page(&answer, "items");
                assert_eq!(total(&answer), found, "{answer}");
            })
            .await;
    }
    route
        .case("20 leaves are tested, 21 are 400", async {
            let leaves =
                |count: usize| (0..count).map(|n| format!("item_state[extra][k{n}]=1")).collect::<Vec<_>>().join("&");
            assert_eq!(total(&owner.items(STUDENT, &leaves(20)).send().await), 0);
            owner.items(STUDENT, &leaves(21)).send().await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
}

async fn places(suite: &mut Suite, world: &World) {
    let mut route = suite.route("12 geo");
    let owner = world.a.sign_up("traveller").await;
    let points = [("pole", 89.9999, 0.0), ("date line", 0.0, 179.9995), ("pune", 18.5204, 73.8567)];
    route
        .case("items with places, and one without, are made", async {
            for (name, latitude, longitude) in points {
                let body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": "profile_1.0",
                    "item_state": {"name": name}, "item_latitude": latitude, "item_longitude": longitude});
                let _made = owner.post("/api/v1/item/create").json(&body).send().await.expect(201);
            }
            let _made = owner.create_student("nowhere").await;
        })
        .await;
    for (name, query, found) in [
        ("beyond the pole", "item_latitude=89.9999&item_longitude=180&radius_meters=30", vec!["pole"]),
        ("across the 180th meridian", "item_latitude=0&item_longitude=-179.9995&radius_meters=120", vec!["date line"]),
        ("a metre too short across it", "item_latitude=0&item_longitude=-179.9995&radius_meters=110", vec![]),
        ("around Pune", "item_latitude=18.52&item_longitude=73.85&radius_meters=1000", vec!["pune"]),
        (
            "the whole earth: rows without a place never match",
            "item_latitude=0&item_longitude=0&radius_meters=99999999",
            vec!["pune", "date line", "pole"],
        ),
        ("a radius alone has no effect", "radius_meters=1", vec!["nowhere", "pune", "date line", "pole"]),
    ] {
        route
            .case(name, async {
                let answer = owner.items(STUDENT, query).send().await;
                let names: Vec<&str> =
                    page(&answer, "items").iter().filter_map(|row| row["item_state"]["name"].as_str()).collect();
                assert_eq!(names, found, "order is unchanged by it: {answer}");
            })
            .await;
    }
}

async fn paging(suite: &mut Suite, world: &World) {
    let mut route = suite.route("1.5 query strings, 1.7 paging");
    let owner = world.a.sign_up("pager").await;
    let mut ids: Vec<String> = Vec::new();
    route
        .case("seven items are made", async {
            for _ in 0..7 {
                ids.insert(0, id(&owner.create_student("Asha").await).to_owned());
            }
        })
        .await;
    route
        .case("page is offset = (page - 1) x limit", async {
            let by_page = owner.items(STUDENT, "limit=3&page=2").send().await;
            let by_offset = owner.items(STUDENT, "limit=3&offset=3").send().await;
            assert_eq!(page(&by_page, "items"), page(&by_offset, "items"));
            assert_eq!(by_page.body["meta"]["offset"], json!(3));
            assert_eq!((total(&by_page), by_page.body["meta"]["limit"].clone()), (7, json!(3)));
        })
        .await;
    route
        .case("a cursor walk sees each row once, and nothing made after the first page", async {
            let mut answer = owner.items(STUDENT, "limit=3").send().await;
            let mut seen: Vec<String> = Vec::new();
            loop {
                seen.extend(page(&answer, "items").iter().map(|item| id(item).to_owned()));
                assert_eq!(answer.body["meta"]["offset"], json!(0));
                let Some(cursor) = answer.body["meta"]["next_cursor"].as_str() else { break };
                assert!(cursor.len() <= 1024);
                let _late = owner.create_student("Late").await;
                answer = owner.items(STUDENT, &format!("limit=3&cursor={cursor}")).send().await;
            }
            assert_eq!(seen, ids);
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 7);
        })
        .await;
    route
        .case("a cursor with other filters is 400 at /cursor", async {
            let first = owner.items(STUDENT, "limit=3").send().await;
            let cursor = first.body["meta"]["next_cursor"].as_str().expect("a cursor");
            let other = owner.items(STUDENT, &format!("limit=3&item_type=x&cursor={cursor}")).send().await;
            faults(&other, "VALIDATION_ERROR", &["/cursor"]);
            for route in ["action", "event"] {
                let other = owner.get(&format!("/api/v1/{route}/fetch?cursor={cursor}")).send().await;
                faults(&other, "VALIDATION_ERROR", &["/cursor"]);
            }
        })
        .await;
    route
        .case("beyond the last row is an empty page with the total", async {
            let answer = owner.items(STUDENT, "offset=1000").send().await;
            assert!(page(&answer, "items").is_empty() && total(&answer) >= 7, "{answer}");
        })
        .await;
}

async fn positions(suite: &mut Suite, world: &World) {
    let tutor = world.strict.sign_up("tutor").await;
    let nobody = world.strict.process.client();
    let pair = format!("item_network={NETWORK}&item_domain=tutor");
    for (title, path) in [
        ("GET /api/v1/item/fetch", format!("/api/v1/item/fetch?{pair}")),
        ("GET /api/v1/action/fetch", "/api/v1/action/fetch".to_owned()),
        ("GET /api/v1/event/fetch", "/api/v1/event/fetch".to_owned()),
        ("GET /api/v1/network/item/fetch", format!("/api/v1/network/item/fetch?{pair}")),
    ] {
        let mut route = suite.route(title);
        let client: &dpg_tests::Client = if path.contains("network/item") { &nobody } else { &tutor };
        let ask = async |position: &str| client.get(&path).header("dpg-min-position", position).send().await;
        route
            .case("dpg-min-position that is there is answered, bare and with the network", async {
                let made = tutor.create_tutor("Ravi").await;
                let item =
                    tutor.patch(&crate::items::path(&made)).json(&json!({"item_latitude": 1, "item_longitude": 1}));
                let position = item.send().await.expect(200).position();
                // This instance waits a moment only, so the question is asked until the table is there.
                dpg_tests::log::projected(&world.strict.instance.database.client().await).await;
                for header in [position.to_string(), format!("{NETWORK}:{position}"), "0".to_owned()] {
                    assert_eq!(ask(&header).await.status, 200, "{header}");
                }
            })
            .await;
        for header in ["999999999".to_owned(), format!("{NETWORK}:999999999")] {
            route
                .case(format!("503 PROJECTION_BEHIND with Retry-After: 1: {header}"), async {
                    let answer = ask(&header).await;
                    answer.expect_error(503, "PROJECTION_BEHIND");
                    assert_eq!(answer.header("retry-after"), Some("1"));
                })
                .await;
        }
        for header in ["elsewhere:1", "-1", "x", "", ":1", "1.5", "open_lessons:"] {
            route
                .case(format!("400: dpg-min-position `{header}`"), async {
                    ask(header).await.expect_error(400, "VALIDATION_ERROR");
                })
                .await;
        }
    }
}

async fn history(suite: &mut Suite, world: &World) {
    let mut route = suite.route("GET /api/v1/item/:itemId/history");
    route
        .case("200: all versions, oldest first, private merged while it lives", async {
            let made = world.asha.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body;
            let change = json!({"item_state": student_state("Asha", "changed")});
            let changed = world.asha.patch(&path(&made)).json(&change).send().await.expect(200);
            let answer = world.asha.get(&format!("{}/history", path(&made))).send().await;
            let rows = page(&answer, "versions");
            assert_eq!((total(&answer), rows.len()), (2, 2));
            for (row, (version, event_type, item)) in
                rows.iter().zip([(1, "item.created", &made), (2, "item.updated", &changed.body["item"])])
            {
                keys(row, &[("recorded_at", Is::Time)]);
                let told = (&row["version"], &row["event_type"], &row["actor"], &row["item"]);
                assert_eq!(told, (&json!(version), &json!(event_type), &json!(world.asha.id), item));
            }
        })
        .await;
    route
        .case("after deletion the owner still reads it, without private values", async {
            let made = world.asha.create(STUDENT, &student_state("Asha", "hidden")).send().await.expect(201).body;
            let _deleted = world.asha.delete(&path(&made)).send().await.expect(204);
            let answer = world.asha.get(&format!("{}/history", path(&made))).send().await;
            let rows = page(&answer, "versions");
            assert_eq!((&rows[1]["event_type"], &rows[1]["item"]), (&json!("item.deleted"), &json!(null)));
            assert!(!answer.text.contains("hidden"), "{answer}");
        })
        .await;
    route
        .case("paged by limit, offset and cursor", async {
            let made = world.student().await;
            for n in 0..3 {
                let change = json!({"item_latitude": n, "item_longitude": 0});
                let _changed = world.asha.patch(&path(&made)).json(&change).send().await.expect(200);
            }
            let base = format!("{}/history", path(&made));
            let first = world.asha.get(&format!("{base}?limit=2")).send().await;
            assert_eq!((total(&first), page(&first, "versions")[0]["version"].clone()), (4, json!(1)));
            let cursor = first.body["meta"]["next_cursor"].as_str().expect("a cursor");
            let second = world.asha.get(&format!("{base}?limit=2&cursor={cursor}")).send().await;
            assert_eq!(page(&second, "versions")[0]["version"], json!(3));
            assert_eq!(second.body["meta"]["next_cursor"], json!(null));
            let skipped = world.asha.get(&format!("{base}?limit=2&offset=3")).send().await;
            assert_eq!(page(&skipped, "versions")[0]["version"], json!(4));
        })
        .await;
    route
        .case("404 for what is not there or another's, an admin's call included", async {
            let made = world.student().await;
            let nowhere = format!("/api/v1/item/{}/history", uuid::Uuid::new_v4());
            for answer in [
                world.asha.get(&nowhere).send().await,
                world.maya.get(&format!("{}/history", path(&made))).send().await,
                world.admin.get(&format!("{}/history", path(&made))).send().await,
            ] {
                answer.expect_error(404, "ITEM_NOT_FOUND_OR_FORBIDDEN");
            }
        })
        .await;
}
