//! What the cases run against: instance A serves students and B serves tutors, each with a key; a third checks every
//! peer's signature and waits for nothing long; scripted peers stand in for other makes, one with a key and one without;
//! one registered instance is not there at all.

use dpg_tests::network::{STUDENT, TUTOR, item_at, reference};
use dpg_tests::peer::{Peer, Received, Reply};
use dpg_tests::{Client, Contract, Instance, Node, TestDatabase, User, log, port};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::signer::Signer;

/// A domain whose one instance is down.
pub const MENTOR: &str = "mentor";
/// A domain without instances.
pub const LIBRARY: &str = "library";
/// An action with a lifecycle, otherwise as `connect`.
pub const ENROL: &str = "enrol";
/// An action between students, so that both sides live on A.
pub const STUDY: &str = "study";
/// An action whose first event needs what its requirements don't.
pub const BOOK: &str = "book";
/// The operator's key of A and B.
pub const ADMIN_KEY: &str = "the operator's own key";
/// What scores are signed with on A.
pub const SCORING_SECRET: &str = "topsecret";

/// Everything that cases share. People and items are cheap; cases make their own where they change something.
pub struct World {
    /// Serves students. Has a key, a scoring provider and `PEER_AUTH=permissive`.
    pub a: Node,
    /// Serves tutors. Has a key; no scoring provider.
    pub b: Node,
    /// Serves both, enforces signatures, waits 200 ms for a projection and a second for a peer.
    pub strict: Node,
    /// Registered for both domains without a key.
    pub foreign: Peer,
    /// Registered for both domains with the key of `keyed_key`.
    pub keyed: Peer,
    /// The key of `keyed`.
    pub keyed_key: Signer,
    /// A's own key, to speak as A without A.
    pub a_key: Signer,
    /// The scoring provider of A.
    pub scorer: Peer,
    /// The contract, to write a changed one.
    pub contract: Contract,
    /// A person on A.
    pub asha: User,
    /// Another person on A.
    pub maya: User,
    /// A person on B.
    pub ravi: User,
    /// An admin on A.
    pub admin: User,
    /// The admin's API key.
    pub admin_key: Client,
}

impl World {
    /// Starts everything.
    pub async fn start() -> Self {
        let ports = [port::free(), port::free(), port::free()];
        let [a_url, b_url, strict_url] = ports.map(port::url);
        let (foreign, keyed, scorer) =
            (Peer::start(courteous).await, Peer::start(courteous).await, Peer::start(scored).await);
        let [a_key, b_key, strict_key, keyed_key] =
            [&a_url, &b_url, &strict_url, &keyed.url()].map(|url| Signer::new(url));
        let contract =
            contract().instance(MENTOR, &port::url(port::free())).instance(STUDENT, &a_url).instance(TUTOR, &b_url);
        let contract = [&strict_url, &foreign.url(), &keyed.url()]
            .into_iter()
            .fold(contract, |contract, url| contract.instance(STUDENT, url).instance(TUTOR, url));
        let keys = [&a_key, &b_key, &strict_key, &keyed_key];
        let contract = contract.edit(|document| give_keys(document, &keys));

        let make = async |name: &str, domains: &[&str], url: &str, key: &Signer| {
            let instance = Instance::new(name, domains, url, TestDatabase::create().await, &contract);
            instance.set("PEER_PRIVATE_KEY", key.private()).set("ADMIN_KEY", ADMIN_KEY)
        };
        let a = make("instance-a", &[STUDENT], &a_url, &a_key).await;
        let a = a.set("MATCH_SCORE_PROVIDER", "dpg_scoring").set("DPG_SCORING_ENDPOINT", &scorer.url());
        let a = a.set("DPG_SCORING_KEY_ID", "key-1").set("DPG_SCORING_SECRET", SCORING_SECRET);
        let b = make("instance-b", &[TUTOR], &b_url, &b_key).await;
        let strict = make("strict", &[STUDENT, TUTOR], &strict_url, &strict_key).await;
        let strict = strict.set("PEER_AUTH", "enforced").set("READ_YOUR_WRITES_TIMEOUT_MS", "200");
        let strict = strict.set("PEER_TIMEOUT_MS", "1000");
        let (a, b, strict) =
            (Node::of(a, ports[0]).await, Node::of(b, ports[1]).await, Node::of(strict, ports[2]).await);

        let (asha, maya, ravi) = (a.sign_up("asha").await, a.sign_up("maya").await, b.sign_up("ravi").await);
        let admin = a.sign_up_admin().await;
        let admin_key = admin.key(&admin.create_key().await);
        Self { a, b, strict, foreign, keyed, keyed_key, a_key, scorer, contract, asha, maya, ravi, admin, admin_key }
    }

    /// A's base URL.
    pub fn a_url(&self) -> &str {
        &self.a.instance.url
    }

    /// B's base URL.
    pub fn b_url(&self) -> &str {
        &self.b.instance.url
    }

    /// A client of A that nobody has signed in.
    pub fn nobody(&self) -> Client {
        self.a.process.client()
    }

    /// A new student item of Asha's on A.
    pub async fn student(&self) -> Value {
        self.asha.create_student("Asha").await
    }

    /// A new tutor item of Ravi's on B.
    pub async fn tutor(&self) -> Value {
        self.ravi.create_tutor("Ravi").await
    }

    /// A new action from Asha to Ravi, known on both sides. Gives its id.
    pub async fn connected(&self, action_type: &str) -> String {
        let (source, target) = (self.student().await, self.tutor().await);
        let answer = self.asha.perform_as(action_type, &source, &target).send().await.expect(201);
        let action = answer.text_at("action_id");
        log::arrives(&self.asha, &action, 0).await;
        action
    }

    /// A body of `event/store` from a tutor at `origin` about a student item of ours.
    pub fn event_from(&self, origin: &str, source: &Value) -> Value {
        json!({"origin_instance_domain": origin, "action_type": "connect", "action_status": "created",
               "action_id": Uuid::new_v4(), "update_count": 0,
               "source_item": reference(source), "target_item": item_at(origin, TUTOR),
               "event_payload": {"subject": "math", "status": "created", "remark": "said"}})
    }
}

/// A body with one value changed or added.
pub fn with(body: &Value, place: &str, value: Value) -> Value {
    let mut body = body.clone();
    match body.pointer_mut(place) {
        Some(there) => *there = value,
        None => {
            let (parent, key) = place.rsplit_once('/').expect("a JSON Pointer");
            body.pointer_mut(parent).expect("a place in the body")[key] = value;
        }
    }
    body
}

/// The harness's contract with a lifecycle, an action between students, a dead domain and an empty one.
pub fn contract() -> Contract {
    Contract::new().with_lifecycle().edit(|document| {
        let actions = &mut document["actions"];
        actions[ENROL] = actions["connect"].clone();
        actions["connect"].as_object_mut().expect("an action").remove("lifecycle");
        let interaction = actions["connect"]["interactions"][0].clone();
        let between = |from: &str, to: &str| {
            let mut one = interaction.clone();
            (one["from_domain"], one["to_domain"]) = (json!(from), json!(to));
            one
        };
        let more = [between(STUDENT, MENTOR), between(STUDENT, STUDENT)];
        actions["connect"]["interactions"].as_array_mut().expect("a list").extend(more);
        actions[STUDY] = json!({"interactions": [between(STUDENT, STUDENT)]});
        let mut book = [between(STUDENT, STUDENT), between(STUDENT, TUTOR)];
        for one in &mut book {
            one["requirement_schema"] = json!({"type": "object", "properties": {"subject": {"type": "string"}}});
        }
        actions[BOOK] = json!({"interactions": book});
        let domains = document["domains"].as_array_mut().expect("a list");
        let schemas = domains[0]["item_schemas"].clone();
        domains.push(json!({"id": MENTOR, "item_schemas": schemas}));
        domains.push(json!({"id": LIBRARY, "item_schemas": schemas}));
    })
}

fn give_keys(document: &mut Value, keys: &[&Signer]) {
    for instance in document["instances"].as_array_mut().expect("a list") {
        if let Some(key) = keys.iter().find(|key| instance["instance_url"] == json!(key.url)) {
            instance["public_key"] = json!(key.public());
        }
    }
}

/// A peer of another make that has nothing and refuses nothing.
pub fn courteous(request: &Received) -> Reply {
    let (body, path) = (&request.body, request.line.as_str());
    if path.contains("count_local") {
        return Reply::json(200, &json!({"count": 0}));
    }
    if path.contains("fetch_local") {
        return Reply::json(200, &json!({"meta": {"total": 0, "limit": 20, "offset": 0}, "items": []}));
    }
    if path.contains("event/store") {
        let told = json!({"event_id": Uuid::new_v4(), "action_id": body["action_id"], "action_type": body["action_type"],
                          "action_status": body["action_status"], "update_count": body["update_count"]});
        return Reply::json(201, &told);
    }
    if path.contains("network/action/perform") {
        return Reply::json(201, &performed(body));
    }
    Reply::json(404, &json!({"error": "NOT_FOUND", "message": "no"}))
}

/// What another make answers to a perform; it calls the type by its older name and adds what nobody asked for.
pub fn performed(body: &Value) -> Value {
    json!({"action_id": Uuid::new_v4(), "action_name": body["action_type"], "action_status": "created", "update_count": 0,
           "source_item_id": body["source_item"]["item_id"], "target_item_id": body["target_item"]["item_id"],
           "more": "than was asked for"})
}

fn scored(_: &Received) -> Reply {
    Reply::json(
        200,
        &json!({
            "score": 7.5, "band": "high", "confidence": 0.8, "version": "1", "promptVersion": "3", "provider": "x",
            "model": "y", "reasoning": "Same subject.", "extra": true,
            "signals": [{"name": "subject", "impact": "positive", "summary": "Both name math."},
                        {"name": "", "impact": "positive", "summary": "Nameless."}, {"name": "half"}]
        }),
    )
}
