//! Whom an instance believes (CONTRACT 2.5, 2.6): every route that peers call, in every mode of `PEER_AUTH`, with every
//! kind of bad credentials.

mod contact;
mod contracts;
mod modes;
mod others;
mod replays;

use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, reference};
use dpg_tests::peer::{Peer, Reply};
use dpg_tests::signer::{Terms, Unsigned};
use dpg_tests::{Answer, Client, Contract, Instance, Node, PeerKey, Signer, TestDatabase, User, port};
use serde_json::{Value, json};
use uuid::Uuid;

/// A network that is loaded beside the one that is spoken about.
const OTHER_NETWORK: &str = "other_lessons";

/// A route of the peer tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Perform,
    UpdateStatus,
    StoreEvent,
    StoreBatch,
    CountLocal,
    FetchLocal,
}

const ROUTES: [Route; 6] =
    [Route::Perform, Route::UpdateStatus, Route::StoreEvent, Route::StoreBatch, Route::CountLocal, Route::FetchLocal];

impl Route {
    fn path(self) -> &'static str {
        match self {
            Self::Perform => "/api/v1/network/action/perform",
            Self::UpdateStatus => "/api/v1/network/action/update-status",
            Self::StoreEvent => "/api/v1/event/store",
            Self::StoreBatch => "/api/v1/event/store/batch",
            Self::CountLocal => "/api/v1/network/item/count_local",
            Self::FetchLocal => "/api/v1/network/item/fetch_local",
        }
    }

    fn is_read(self) -> bool {
        matches!(self, Self::CountLocal | Self::FetchLocal)
    }

    /// Whether peers of another make never call it, so that unsigned calls are nobody's.
    fn only_signed(self) -> bool {
        matches!(self, Self::UpdateStatus | Self::StoreBatch)
    }

    /// What is answered to whom is believed.
    fn success(self) -> u16 {
        if matches!(self, Self::Perform | Self::StoreEvent) { 201 } else { 200 }
    }
}

/// An instance of both domains with peers: two with a key, one without, one with a key for tutors only, and one to which
/// only another network's contract gives a key.
struct Bed {
    node: Node,
    asha: User,
    ravi: User,
    source: Value,
    target: Value,
    /// The instance's own key, as if it had leaked.
    own: Signer,
    one: Signer,
    two: Signer,
    tutors: Signer,
    keyless: String,
    /// The key is the other network's.
    elsewhere: Signer,
    contract: Contract,
    _registry: Peer,
}

impl Bed {
    async fn start(mode: &str, settings: impl FnOnce(Instance) -> Instance) -> Self {
        let port = port::free();
        let url = port::url(port);
        let own_key = PeerKey::make();
        let keys: Vec<PeerKey> = (0..4).map(|_| PeerKey::make()).collect();
        let urls: Vec<String> = (0..5).map(|_| port::url(port::free())).collect();
        let other = Contract::new().instance(STUDENT, &urls[4]).instance(TUTOR, &urls[4]).edit(|document| {
            document["id"] = json!(OTHER_NETWORK);
            document["instances"][0]["public_key"] = json!(keys[3].public);
        });
        let registry = Peer::start(move |_| Reply::json(200, other.document())).await;
        let keyed = |contract: Contract, domain: &str, url: &str, key: &PeerKey| {
            contract.instance(domain, url).edit(|document| {
                let entry = document["instances"].as_array_mut().and_then(|all| all.last_mut()).expect("an instance");
                entry["public_key"] = json!(key.public);
            })
        };
        let mut contract = keyed(Contract::new(), STUDENT, &url, &own_key).instance(TUTOR, &url);
        for (url, key) in urls.iter().zip(&keys).take(2) {
            // A key that one entry of an instance gives is the instance's.
            contract = keyed(contract, STUDENT, url, key).instance(TUTOR, url);
        }
        contract = keyed(contract, TUTOR, &urls[2], &keys[2]);
        for url in [&urls[3], &urls[4]] {
            contract = contract.instance(STUDENT, url).instance(TUTOR, url);
        }
        let contract = contract.edit(|document| {
            let schema_url = format!("{}/network.json", registry.url());
            document["cross_network_origins"] = json!([{"id": OTHER_NETWORK, "schema_url": schema_url}]);
        });
        let instance = Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract)
            .set("PEER_AUTH", mode)
            .set("PEER_PRIVATE_KEY", &own_key.private);
        let node = Node::of(settings(instance), port).await;
        let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
        let (source, target) = (asha.create_student("Asha").await, ravi.create_tutor("Ravi").await);
        Self {
            own: Signer::new(&url, &own_key),
            one: Signer::new(&urls[0], &keys[0]),
            two: Signer::new(&urls[1], &keys[1]),
            tutors: Signer::new(&urls[2], &keys[2]),
            keyless: urls[3].clone(),
            elsewhere: Signer::new(&urls[4], &keys[3]),
            node,
            asha,
            ravi,
            source,
            target,
            contract,
            _registry: registry,
        }
    }

    fn client(&self) -> Client {
        self.node.process.client()
    }

    /// Host and port by which the instance is called.
    fn authority(&self) -> &str {
        self.node.instance.url.strip_prefix("http://").expect("plain HTTP")
    }

    /// A body with which the claimed instance would be right, if it is who it says.
    async fn body(&self, route: Route, claimed: &str) -> Value {
        match route {
            Route::Perform => self.perform(claimed),
            Route::UpdateStatus => self.cancel(claimed, &self.perform(claimed)).await,
            Route::StoreEvent => self.event(claimed, &Uuid::new_v4()),
            Route::StoreBatch => self.batch(claimed, &[self.event(claimed, &Uuid::new_v4())]),
            Route::CountLocal => json!({"item_network": NETWORK, "item_domain": TUTOR}),
            Route::FetchLocal => json!({"item_network": NETWORK, "item_domain": TUTOR, "limit": 5, "offset": 0}),
        }
    }

    /// A new item of theirs acts with ours.
    fn perform(&self, claimed: &str) -> Value {
        json!({
            "action_type": CONNECT, "source_item_owner": "owner-there", "requirements_snapshot": {"subject": "math"},
            "target_item": reference(&self.target), "source_item": item_at(claimed, STUDENT),
        })
    }

    /// Takes back what was performed, if the instance could perform.
    async fn cancel(&self, claimed: &str, performed: &Value) -> Value {
        let call = Call::of(Route::Perform, performed.clone());
        let answer = match [&self.one, &self.two].into_iter().find(|signer| signer.url == claimed) {
            Some(signer) => call.signed(self, signer, |_| {}).send().await,
            None => call.unsigned(self).send().await,
        };
        let known = (answer.status == 201).then(|| answer.text_at("action_id"));
        json!({
            "action_id": known.unwrap_or_else(|| Uuid::new_v4().to_string()), "action_status": "cancelled",
            "source_item": performed["source_item"], "source_item_owner": "owner-there",
        })
    }

    /// An event of an action that they hold, about our source item.
    fn event(&self, claimed: &str, action: &Uuid) -> Value {
        json!({
            "origin_instance_domain": claimed, "action_type": CONNECT, "action_id": action, "action_status": "created",
            "update_count": 0, "source_item": reference(&self.source), "target_item": item_at(claimed, TUTOR),
            "event_payload": {"subject": "math", "status": "created"}
        })
    }

    /// The first events of a lane of theirs.
    fn batch(&self, claimed: &str, events: &[Value]) -> Value {
        let events: Vec<Value> = (1..).zip(events).map(|(seq, event)| json!({"seq": seq, "event": event})).collect();
        json!({
            "origin_instance_domain": claimed, "network": NETWORK, "destination": self.node.instance.url,
            "epoch": Uuid::new_v4(), "events": events
        })
    }
}

fn item_at(url: &str, domain: &str) -> Value {
    json!({"item_network": NETWORK, "item_domain": domain, "item_type": PROFILE, "item_id": Uuid::new_v4(),
           "item_instance_url": url})
}

/// A request of a peer before anybody has signed it.
struct Call {
    route: Route,
    body: Value,
    key: Option<&'static str>,
}

impl Call {
    fn of(route: Route, body: Value) -> Self {
        Self { route, body, key: None }
    }

    fn with_key(route: Route, body: Value, key: &'static str) -> Self {
        Self { route, body, key: Some(key) }
    }

    fn unsigned(&self, bed: &Bed) -> Sending {
        Sending { client: bed.client(), path: self.route.path(), headers: vec![], text: self.body.to_string() }
            .with_key(self.key)
    }

    /// Signed by somebody, who may bend the terms first.
    fn signed(&self, bed: &Bed, signer: &Signer, bend: impl FnOnce(&mut Terms)) -> Sending {
        let mut sending = self.unsigned(bed);
        let request =
            Unsigned { method: "POST", path: self.route.path(), key: self.key, body: sending.text.as_bytes() };
        let mut terms = signer.terms(bed.authority(), &request);
        bend(&mut terms);
        let headers = signer.sign(&request, &terms);
        sending.headers.extend(headers);
        sending
    }
}

/// A request as it goes out. It can be sent again and again, and bent after it was signed.
#[derive(Clone)]
struct Sending {
    client: Client,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    text: String,
}

impl Sending {
    fn with_key(mut self, key: Option<&'static str>) -> Self {
        self.headers.extend(key.map(|key| ("idempotency-key", key.to_owned())));
        self
    }

    /// Adds a header, or puts another value in its place.
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    async fn send(&self) -> Answer {
        let request = self.client.post(self.path).raw("application/json", self.text.clone());
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
    }
}
