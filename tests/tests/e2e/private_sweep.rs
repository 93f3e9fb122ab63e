//! Private values stay private (CONTRACT 8.6): a marker in a private field of every shape, every route called by everyone
//! but the owner, and then every answer, log line, metric, mirrored body, Redis command and table searched for it.

use std::collections::BTreeMap;

use dpg_tests::log::{arrives, projected};
use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, item_at, perform_from, reference};
use dpg_tests::peer::Peer;
use dpg_tests::record::{Exchange, Tape};
use dpg_tests::{Client, Contract, Instance, Node, TestDatabase, User, port};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::private_shapes::{courteous, monitor, schema, state};

const ADMIN_KEY: &str = "the operator's own key";

/// Two instances, a peer of another make, and people whose items are full of markers.
struct Sweep {
    a: Node,
    b: Node,
    foreign: Peer,
    asha: User,
    maya: User,
    ravi: User,
    admin: User,
    admin_key: Client,
    /// In every private field. Never to be seen.
    secret: String,
    /// In the one private field that an action asks for: both owners may see it, and the target's instance.
    given: String,
    /// In a public field: what doesn't find this finds nothing.
    public: String,
}

impl Sweep {
    async fn start() -> Self {
        let foreign = Peer::start(courteous).await;
        let (a_port, b_port) = (port::free(), port::free());
        let (a_url, b_url) = (port::url(a_port), port::url(b_port));
        let contract = Contract::new().instance(STUDENT, &a_url).instance(TUTOR, &b_url);
        let contract = contract.instance(STUDENT, &foreign.url()).instance(TUTOR, &foreign.url()).edit(fill);
        let start = async |name: &str, domain: &str, url: &str, port: u16| {
            let instance = Instance::new(name, &[domain], url, TestDatabase::create().await, &contract);
            Node::of(instance.set("RUST_LOG", "debug").set("ADMIN_KEY", ADMIN_KEY), port).await
        };
        let a = start("instance-a", STUDENT, &a_url, a_port).await;
        let b = start("instance-b", TUTOR, &b_url, b_port).await;
        let (asha, maya, ravi) = (a.sign_up("asha").await, a.sign_up("maya").await, b.sign_up("ravi").await);
        let admin = a.sign_up_admin().await;
        let admin_key = admin.key(&admin.create_key().await);
        let mark = |kind: &str| format!("{kind}{}", Uuid::new_v4().simple());
        let (secret, given, public) = (mark("secret"), mark("given"), mark("public"));
        Self { a, b, foreign, asha, maya, ravi, admin, admin_key, secret, given, public }
    }

    async fn create(&self, owner: &User, domain: &str) -> Value {
        let wanted = state(&self.secret, &self.given, &self.public);
        let made = owner.create(domain, &wanted).send().await.expect(201);
        assert_eq!(made.body["item_state"], wanted, "the owner sees everything");
        let found = owner.items(domain, &format!("item_id={}", made.text_at("item_id"))).send().await.expect(200);
        assert_eq!(found.body["items"][0]["item_state"], wanted, "merge(split(state)) is not the state");
        made.body
    }

    /// Everyone who is not Asha: without credentials, another user, an admin by session and key, the other instance's user.
    fn strangers(&self) -> Vec<Client> {
        let (a, b) = (self.a.process.client(), self.b.process.client());
        vec![a, b, (*self.maya).clone(), (*self.admin).clone(), self.admin_key.clone()]
    }
}

/// Both item types have private fields of every shape; `connect` asks for one of them.
fn fill(document: &mut Value) {
    for domain in 0..2 {
        document["domains"][domain]["item_schemas"][PROFILE] = schema();
    }
    let interaction = &mut document["actions"][CONNECT]["interactions"][0];
    interaction["requirement_schema"] = json!({"type": "object", "additionalProperties": false, "required": ["subject"],
        "properties": {"subject": {"type": "string"}, "handed_over": {"type": "string"}}});
    let mut local = interaction.clone();
    local["to_domain"] = json!(STUDENT);
    document["actions"][CONNECT]["interactions"].as_array_mut().expect("a list").push(local);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_in_every_private_field_is_seen_by_its_owner_alone() {
    let redis = monitor().await;
    let sweep = Sweep::start().await;
    let (source, target) = (sweep.create(&sweep.asha, STUDENT).await, sweep.create(&sweep.ravi, TUTOR).await);
    let actions = act(&sweep, &source, &target).await;

    let tape = Tape::default();
    tape.record(refusals(&sweep, &source)).await;
    tape.record(deleted(&sweep)).await;
    let owners = tape.exchanges();
    assert_clean("what an owner is refused, or told of a deleted item", &owners, &[&sweep.secret, &sweep.given]);

    let tape = Tape::default();
    tape.record(read_everything(&sweep, &source, &actions)).await;
    // Before the probes, whose own guesses go to peers as filters.
    assert_peer_clean(&sweep);
    tape.record(probe(&sweep, &source)).await;
    let strangers = tape.exchanges();
    assert!(strangers.iter().any(|one| one.answer.text.contains(&sweep.public)), "the search finds nothing at all");
    assert_clean("what others are told", &strangers, &[&sweep.secret, &sweep.given]);

    let tape = Tape::default();
    tape.record(read_as_the_other_owner(&sweep)).await;
    let partners = tape.exchanges();
    let handed = partners.iter().any(|one| one.answer.text.contains(&sweep.given));
    assert!(handed, "what an action asks for does not reach the target's owner");
    assert_clean("what the other side of an action is told", &partners, &[&sweep.secret]);

    for node in [&sweep.a, &sweep.b] {
        assert_not_stored(node, &sweep.secret).await;
        let logs = node.instance.logs();
        assert!(logs.contains("DEBUG"), "nothing is logged at this level");
        for mark in [&sweep.secret, &sweep.given] {
            let line = logs.lines().find(|line| line.contains(mark.as_str()));
            assert!(line.is_none(), "a log line holds a private value: {line:?}");
        }
    }
    let commands = redis.stop().await;
    assert!(commands.contains(&sweep.public), "no page went to Redis: the search shows nothing");
    for mark in [&sweep.secret, &sweep.given] {
        assert!(!commands.contains(mark.as_str()), "Redis was given a private value");
    }
}

/// Actions here, to the other instance and to the foreign peer, with answers and withdrawals. Gives their ids.
async fn act(sweep: &Sweep, source: &Value, target: &Value) -> Vec<String> {
    // Nothing private of Maya's, so that what she is told can be searched whole.
    let local = sweep.maya.create(STUDENT, &json!({"name": "Maya"})).send().await.expect(201).body;
    let abroad = item_at(&sweep.foreign.url(), TUTOR);
    let mut actions = Vec::new();
    for target in [&local, target, &abroad] {
        let key = Uuid::new_v4().to_string();
        let perform = || sweep.asha.perform(source, target).header("idempotency-key", &key);
        let made = perform().send().await.expect(201);
        let _again = perform().send().await.expect(201);
        actions.push(made.text_at("action_id"));
    }
    let accepted = sweep.maya.update_status(&actions[0], "accepted");
    let _answered = accepted.header("idempotency-key", "key-of-an-answer").send().await.expect(200);
    arrives(&sweep.asha, &actions[1], 0).await;
    let _withdrawn = sweep.asha.update_status(&actions[1], "accepted").send().await;
    let _answered = sweep.ravi.update_status(&actions[1], "completed").send().await.expect(200);
    arrives(&sweep.asha, &actions[1], 1).await;
    // Someone abroad asks Ravi; the foreign peer is told what happens to it.
    let asked = perform_from(&sweep.foreign.url(), target);
    let asked = sweep.b.process.client().post("/api/v1/network/action/perform").json(&asked).send().await.expect(201);
    let action = asked.text_at("action_id");
    let _answered = sweep.ravi.update_status(&action, "accepted").send().await.expect(200);
    dpg_tests::eventually("the foreign peer is told", dpg_tests::log::SOON, || async {
        let told = sweep.foreign.received("event/store");
        if told.iter().filter(|got| got.body["action_id"] == json!(action)).count() == 2 {
            Ok(())
        } else {
            Err(told.len())
        }
    })
    .await;
    actions.push(action);
    for node in [&sweep.a, &sweep.b] {
        projected(&node.instance.database.client().await).await;
    }
    actions
}

/// States and payloads that are refused are not repeated, whoever sent them.
async fn refusals(sweep: &Sweep, source: &Value) {
    let path = format!("/api/v1/item/{}", source["item_id"].as_str().expect("an id"));
    let good = state(&sweep.secret, &sweep.given, &sweep.public);
    let wrong = json!({"nested": [{"deep": {"value": sweep.secret}}], "text": sweep.secret});
    let public = public_half(sweep, source).await;
    for key in good.as_object().expect("an object").keys().filter(|key| public[*key] != good[*key]) {
        let refused = async |value: Value| {
            let mut bad = good.clone();
            // A public fault refuses every state, also where the private value would fit.
            (bad[key], bad["name"]) = (value, json!(5));
            sweep.asha.create(STUDENT, &bad).send().await.expect_error(400, "INVALID_ITEM_STATE");
            let changed = sweep.asha.patch(&path).json(&json!({"item_state": bad})).send().await;
            changed.expect_error(400, "INVALID_ITEM_STATE");
        };
        for value in [wrong.clone(), json!(sweep.secret), json!([sweep.secret]), json!({"x": sweep.secret})] {
            refused(value).await;
        }
        // A key is told to its owner as the place of the fault, but to no log line.
        Tape::default().record(refused(json!({&sweep.secret: {&sweep.secret: 5}}))).await;
    }
    let snapshot = json!({"action_type": CONNECT, "source_item": reference(source), "target_item": reference(source),
                          "requirements_snapshot": {"subject": [sweep.secret], "more": sweep.secret}});
    sweep.asha.post("/api/v1/action/perform").json(&snapshot).send().await.expect_error(400, "INVALID_ACTION_REQUEST");
    for text in [format!("{{\"item_state\":{{\"phone\":\"{}\"", sweep.secret), format!("\"{}\"", sweep.secret)] {
        let refused = sweep.asha.post("/api/v1/item/create").raw("application/json", text).send().await;
        assert_eq!(refused.status, 400, "{refused}");
    }
    let typed = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": 5, "item_state": good});
    sweep.asha.post("/api/v1/item/create").json(&typed).send().await.expect_error(400, "VALIDATION_ERROR");
}

/// A key that is replayed after the item is gone, and the history of what is gone.
async fn deleted(sweep: &Sweep) {
    let wanted = state(&sweep.secret, &sweep.given, &sweep.public);
    let create = || sweep.asha.create(STUDENT, &wanted).header("idempotency-key", "key-of-a-short-life");
    // Made and deleted outside the tape: the first answer is the owner's.
    let made = Tape::default().record(async { create().send().await }).await.expect(201);
    let path = format!("/api/v1/item/{}", made.text_at("item_id"));
    let _gone = sweep.asha.delete(&path).send().await.expect(204);
    let again = create().send().await.expect(201);
    assert_eq!(again.body["item_id"], made.body["item_id"]);
    let _history = sweep.asha.get(&format!("{path}/history")).send().await.expect(200);
}

/// Every route that reads, and every write that others may try, by everyone but the owners.
async fn read_everything(sweep: &Sweep, source: &Value, actions: &[String]) {
    let id = source["item_id"].as_str().expect("an id");
    let mut paths: Vec<String> = [
        "/",
        "/.well-known/dpg-peer",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/api/v1/openapi.json",
        "/api/reference",
        "/api/v1/network/schemas",
        "/api/v1/peers/self/status",
        "/api/v1/admin/peers",
        "/api/v1/admin/outbox/parked",
        "/api/auth/get-session",
        "/api/auth/api-key/list",
    ]
    .map(str::to_owned)
    .to_vec();
    for domain in [STUDENT, TUTOR] {
        let pair = format!("item_network={NETWORK}&item_domain={domain}");
        paths.push(format!("/api/v1/network/schema/{NETWORK}/{domain}/{PROFILE}"));
        for more in ["", "&limit=1", "&item_type=profile_1.0", "&offset=1", "&item_state[note]=x"] {
            paths.push(format!("/api/v1/item/fetch?{pair}{more}"));
            paths.push(format!("/api/v1/network/item/fetch?{pair}{more}"));
        }
        paths.push(format!("/api/v1/network/item/fetch?{pair}&item_id={id}"));
        paths.push(format!("/api/v1/item/fetch?{pair}&item_id={id}"));
    }
    paths.push(format!("/api/v1/item/{id}/history"));
    for client in sweep.strangers() {
        for path in &paths {
            let answer = client.get(path).header("x-admin-key", ADMIN_KEY).send().await;
            assert!(answer.status < 500, "{answer}");
        }
        let path = format!("/api/v1/item/{id}");
        let change = json!({"item_latitude": 1, "item_longitude": 1, "item_state": {"phone": 5}});
        for answer in [client.patch(&path).json(&change).send().await, client.delete(&path).send().await] {
            assert!((400..500).contains(&answer.status), "{answer}");
        }
        for action in actions {
            let refused = client.update_status(action, "rejected").send().await;
            assert!([401, 403, 404].contains(&refused.status) || client_is(sweep, &client), "{refused}");
        }
        let stolen = client.perform(source, source).send().await;
        assert!([401, 403].contains(&stolen.status), "{stolen}");
    }
    for client in [sweep.a.process.client(), sweep.b.process.client()] {
        for domain in [STUDENT, TUTOR] {
            let body = json!({"item_network": NETWORK, "item_domain": domain, "limit": 100, "offset": 0,
                              "includePrivateState": true, "created_by": sweep.asha.id});
            for route in ["fetch_local", "count_local"] {
                let answer = client.post(&format!("/api/v1/network/item/{route}")).json(&body).send().await;
                assert!(answer.status < 500, "{answer}");
            }
        }
    }
}

/// Maya owns the target of the local action, and may answer it.
fn client_is(sweep: &Sweep, client: &Client) -> bool {
    format!("{client:?}").contains(&sweep.maya.token)
}

/// A filter on a private property matches nothing, whoever asks and however it is spelled.
async fn probe(sweep: &Sweep, source: &Value) {
    let whole = state(&sweep.secret, &sweep.given, &sweep.public);
    let public = public_half(sweep, source).await;
    let mut probed = 0;
    for (key, value) in whole.as_object().expect("an object") {
        if public.get(key) == Some(value) {
            continue;
        }
        probed += 1;
        let filter = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_state": {key: value}});
        let count = sweep.a.process.client().post("/api/v1/network/item/count_local").json(&filter).send().await;
        assert!(count.status != 200 || count.body["count"] == json!(0), "a filter on {key} is an oracle: {count}");
        if let Some(text) = value.as_str() {
            for route in ["network/item/fetch", "item/fetch"] {
                let path =
                    format!("/api/v1/{route}?item_network={NETWORK}&item_domain={STUDENT}&item_state[{key}]={text}");
                let page = sweep.maya.get(&path).send().await;
                assert!(
                    page.status != 200 || page.body["meta"]["total"] == json!(0),
                    "a filter on {key} is an oracle: {page}"
                );
            }
        }
    }
    assert!(probed > 15, "hardly anything was private: {public}");
}

/// The public half, as the table holds it.
async fn public_half(sweep: &Sweep, source: &Value) -> Value {
    let client = sweep.a.instance.database.client().await;
    let id: Uuid = source["item_id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let query = "select item_state from items_live.items where item_id = $1";
    client.query_one(query, &[&id]).await.expect("the row").get(0)
}

/// The owners of the targets read their actions and events, and each other's pages.
async fn read_as_the_other_owner(sweep: &Sweep) {
    for owner in [&sweep.ravi, &sweep.maya] {
        for path in
            ["/api/v1/action/fetch?limit=100", "/api/v1/event/fetch?limit=100", "/api/v1/network/schemas", "/metrics"]
        {
            let _answer = owner.get(path).send().await.expect(200);
        }
        let path = format!("/api/v1/network/item/fetch?item_network={NETWORK}&item_domain={STUDENT}");
        let _page = owner.get(&path).send().await;
    }
}

/// No answer holds a mark: neither its headers, nor its body, nor what a cursor in it decodes to.
fn assert_clean(what: &str, exchanges: &[Exchange], marks: &[&String]) {
    for one in exchanges {
        let headers = format!("{:?}", one.answer.headers);
        let cursor = one.answer.body["meta"]["next_cursor"].as_str().unwrap_or_default();
        let decoded =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, cursor).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        for mark in marks {
            let told = [&headers, &one.answer.text, &decoded].iter().any(|text| text.contains(mark.as_str()));
            assert!(!told, "{what}: a private value is in the answer\n{one}");
        }
    }
    assert!(!exchanges.is_empty(), "{what}: nothing was asked");
}

/// What the foreign peer was sent: what the action asks for, in the perform; nothing else private anywhere.
fn assert_peer_clean(sweep: &Sweep) {
    let all = sweep.foreign.received("/");
    let performed = sweep.foreign.received("network/action/perform");
    assert_eq!(performed.len(), 1, "a replayed key was sent again");
    assert_eq!(performed[0].body["requirements_snapshot"], json!({"subject": "math", "handed_over": sweep.given}));
    let mut by_path: BTreeMap<&str, usize> = BTreeMap::new();
    for got in &all {
        *by_path.entry(got.line.split(' ').nth(1).unwrap_or_default()).or_default() += 1;
        assert!(!format!("{got:?}").contains(&sweep.secret), "the peer was sent a private value: {got:?}");
    }
    assert!(by_path.contains_key("/api/v1/event/store"), "{by_path:?}");
}

/// Outside the private halves, no table holds the mark: neither as text nor as bytes.
async fn assert_not_stored(node: &Node, mark: &str) {
    let client = node.instance.database.client().await;
    let tables = "select format('%I.%I', table_schema, table_name), table_name from information_schema.tables
                   where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
                     and table_schema not like 'pg\\_%'";
    let hex: String = mark.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut searched = Map::new();
    for row in client.query(tables, &[]).await.expect("the catalogue") {
        let (table, name): (String, String) = (row.get(0), row.get(1));
        // `item_private` is where private halves live; partitions are searched through their own names too.
        if name == "item_private" || name.starts_with("item_private_") {
            continue;
        }
        let query = format!(
            "select count(*) from {table} t cross join lateral (select (to_jsonb(t) - 'item_private_state')::text as row) r
              where r.row like '%' || $1::text || '%' or r.row like '%' || $2::text || '%'"
        );
        let found: i64 = client.query_one(&query, &[&mark, &hex]).await.expect("the table").get(0);
        searched.insert(table.clone(), json!(found));
        assert_eq!(found, 0, "{table} holds a private value");
    }
    assert!(searched.keys().any(|table| table.contains("event_log")) && searched.len() > 15, "{searched:?}");
}
