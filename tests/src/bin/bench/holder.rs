//! An instance that holds actions whose source items live at peers, so that it owes them every change; and the changes.

use std::time::{Duration, Instant};

use dpg_tests::Client;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::figures::connect;
use crate::instance::{DOMAIN, ITEM_TYPE, Instance, NETWORK, Settings, binary, profile, url};
use crate::load::Connection;

/// The domain of target items.
const TARGET: &str = "helper";
/// The one action of the contract.
const ACTION: &str = "ask";
const PORT: u16 = 27_430;
const ADMIN_KEY: &str = "only for the benchmark";

/// A key pair for signing, made as an operator makes one.
pub struct Key {
    pub private: String,
    public: String,
}

impl Key {
    pub fn make() -> Self {
        let output = std::process::Command::new(binary()).args(["keys", "peer"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap().trim_matches('"');
        Self { private: after("PEER_PRIVATE_KEY=").to_owned(), public: after("\"public_key\": ").to_owned() }
    }
}

/// The network of one holder and of peers where source items live, each with its key if it has one.
pub fn contract(holder: &Key, peers: &[(u16, Option<&Key>)]) -> String {
    let schema = json!({"type": "object", "properties": {"subject": {"type": "string"}}});
    let peers = peers.iter().map(|(port, key)| {
        let keys: Vec<&String> = key.iter().map(|key| &key.public).collect();
        json!({"domain_id": DOMAIN, "instance_url": url(*port), "public_keys": keys})
    });
    let own = json!({"domain_id": TARGET, "instance_url": url(PORT), "public_key": holder.public});
    json!({
        "id": NETWORK,
        "domains": [{"id": DOMAIN, "item_schemas": {ITEM_TYPE: profile()}}, {"id": TARGET, "item_schemas": {ITEM_TYPE: profile()}}],
        "instances": peers.chain([own]).collect::<Vec<_>>(),
        "actions": {ACTION: {"interactions": [{"from_domain": DOMAIN, "to_domain": TARGET, "requirement_schema": schema}]}},
    })
    .to_string()
}

/// Makes an item at an instance, as its client would, and gives it back.
pub async fn create_item(instance: &Instance, domain: &str) -> Value {
    let client = Client::anonymous(&instance.url()).key(&instance.key);
    let body =
        json!({"item_network": NETWORK, "item_domain": domain, "item_type": ITEM_TYPE, "item_state": {"name": "Asha"}});
    client.post("/api/v1/item/create").json(&body).send().await.expect(201).body
}

/// The body of `action/perform` from one item to another.
pub fn performance(source: &Value, target: &Value) -> Value {
    json!({"action_type": ACTION, "source_item": reference(source), "target_item": reference(target),
           "requirements_snapshot": {"subject": "x".repeat(300)}})
}

fn reference(item: &Value) -> Value {
    let keys = ["item_network", "item_domain", "item_type", "item_id", "item_instance_url"];
    Value::Object(keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect())
}

/// The instance that holds the actions. It signs.
pub struct Holder {
    pub instance: Instance,
    /// The item that all actions are about.
    pub item: Value,
    client: Client,
}

impl Holder {
    pub async fn start(admin: &str, key: &Key, contract: &str) -> Self {
        let environment = vec![("PEER_PRIVATE_KEY", key.private.clone()), ("ADMIN_KEY", ADMIN_KEY.to_owned())];
        let settings = Settings { port: PORT, contract: contract.to_owned(), domain: TARGET, environment };
        let instance = Instance::start(admin, settings).await;
        let item = create_item(&instance, TARGET).await;
        let client = Client::anonymous(&instance.url());
        Self { instance, item, client }
    }

    /// A peer of another make performs an action, which counts as contact from it.
    pub async fn perform_from(&self, peer: &str) -> Action {
        let source = json!({"item_network": NETWORK, "item_domain": DOMAIN, "item_type": ITEM_TYPE,
                            "item_id": Uuid::now_v7(), "item_instance_url": peer});
        let mut body = performance(&source, &self.item);
        body["source_item_owner"] = json!("asha");
        let answer = self.client.post("/api/v1/network/action/perform").json(&body).send().await.expect(201);
        Action { id: answer.text_at("action_id"), update_count: 0 }
    }

    /// What an operator does to the lane of a peer: `pause` or `resume`.
    pub async fn operate(&self, verb: &str, peer: &str) {
        let request = self.client.post(&format!("/api/v1/admin/peers/{verb}")).header("x-admin-key", ADMIN_KEY);
        let _lanes = request.json(&json!({"instance_url": peer})).send().await.expect(200);
    }

    /// Waits until every lane has delivered all that it owes.
    pub async fn settled(&self) {
        let client = connect(&self.instance.database).await;
        let query = "select coalesce(sum(h.seq - coalesce(l.acknowledged_seq, 0)), 0)::bigint
                       from outbox_heads h left join lanes l using (network, destination)";
        let query = client.prepare(query).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            let waiting: i64 = client.query_one(&query, &[]).await.unwrap().get(0);
            if waiting == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{waiting} events still wait");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// An action that somebody changes, at its last change.
#[derive(Debug, Clone)]
pub struct Action {
    pub id: String,
    pub update_count: i64,
}

/// A change that was answered.
#[derive(Debug)]
pub struct Change {
    pub action: String,
    pub update_count: i64,
    pub answered: Instant,
}

/// When a writer stops, and how it goes about it.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// This many changes, one after the other.
    Count(usize),
    /// One after the other for so long.
    FlatOut(Duration),
    /// So long, with this time between two changes.
    Every(Duration, Duration),
}

/// Changes the statuses of actions, one writer for each group of them, each over a connection of its own.
pub async fn change(instance: &Instance, groups: &mut [Vec<Action>], pace: Pace) -> Vec<Change> {
    let (port, count, started) = (instance.port, groups.len(), Instant::now());
    let tasks: Vec<_> = (0_u32..)
        .zip(groups.iter_mut())
        .map(|(number, group)| {
            let (mut actions, key) = (std::mem::take(group), instance.key.clone());
            // Writers at a pace don't all write at once.
            let first = match pace {
                Pace::Every(_, step) => started + step * number / u32::try_from(count).unwrap(),
                Pace::Count(_) | Pace::FlatOut(_) => started,
            };
            tokio::spawn(async move {
                let changes = write(port, &key, &mut actions, pace, first).await;
                (actions, changes)
            })
        })
        .collect();
    let mut all = Vec::new();
    for (group, task) in groups.iter_mut().zip(tasks) {
        let (actions, changes) = task.await.unwrap();
        *group = actions;
        all.extend(changes);
    }
    all
}

async fn write(port: u16, key: &str, actions: &mut [Action], pace: Pace, first: Instant) -> Vec<Change> {
    let (mut connection, mut changes, number) = (Connection::open(port).await, Vec::new(), actions.len());
    let step = match pace {
        Pace::Every(_, step) => step,
        Pace::Count(_) | Pace::FlatOut(_) => Duration::from_nanos(1),
    };
    let mut ticks = tokio::time::interval_at(first.into(), step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let done = match pace {
            Pace::Count(count) => changes.len() == count,
            Pace::FlatOut(time) | Pace::Every(time, _) => first.elapsed() >= time,
        };
        if done {
            return changes;
        }
        if let Pace::Every(..) = pace {
            ticks.tick().await;
        }
        let action = &mut actions[changes.len() % number];
        let answer = connection.ask(&request(key, action)).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        action.update_count += 1;
        let (id, update_count) = (action.id.clone(), action.update_count);
        changes.push(Change { action: id, update_count, answered: Instant::now() });
    }
}

/// The next change of an action. It is answered as soon as it is durable, not when the tables show it.
fn request(key: &str, action: &Action) -> Vec<u8> {
    let status = if action.update_count % 2 == 0 { "accepted" } else { "pending" };
    let body = json!({"action_id": action.id, "action_status": status, "remarks": "Saturday at ten"}).to_string();
    format!(
        "POST /api/v1/action/update-status HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\nprefer: respond-async\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
