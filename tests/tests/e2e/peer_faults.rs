//! A source's instance that answers its events with anything but an answer: nothing is lost, nothing is parked, and
//! delivery goes on by itself once the peer is well and makes contact.

use dpg_tests::log::SOON;
use dpg_tests::network::{STUDENT, TUTOR, perform_from};
use dpg_tests::peer::{Peer, Received, Reply};
use dpg_tests::wait::check;
use dpg_tests::{Contract, Instance, Node, TestDatabase, User, eventually, port};
use serde_json::{Value, json};

pub(crate) const STORE: &str = "/api/v1/event/store";

/// A tutor instance of ours whose students live at a scripted peer of another make.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) peer: Peer,
    ravi: User,
    target: Value,
}

impl Served {
    pub(crate) async fn start() -> Self {
        let peer = Peer::start(taken).await;
        let port = port::free();
        let url = port::url(port);
        let contract = Contract::new().instance(STUDENT, &peer.url()).instance(TUTOR, &url);
        let instance = Instance::new("tutor", &[TUTOR], &url, TestDatabase::create().await, &contract);
        let node = Node::of(instance, port).await;
        let ravi = node.sign_up("ravi").await;
        let target = ravi.create_tutor("Ravi").await;
        Self { node, peer, ravi, target }
    }

    /// The peer performs an action, which is contact too.
    pub(crate) async fn performed(&self) -> String {
        let body = perform_from(&self.peer.url(), &self.target);
        let answer = self.node.process.client().post("/api/v1/network/action/perform").json(&body).send().await;
        answer.expect(201).text_at("action_id")
    }

    async fn change(&self, action: &str, status: &str) {
        let _changed = self.ravi.update_status(action, status).send().await.expect(200);
    }

    /// Events of an action that the peer has been sent, as (count, status), without immediate repetitions.
    fn sent(&self, action: &str) -> Vec<(i64, String)> {
        let all = self.peer.received(STORE).into_iter().filter(|request| request.body["action_id"] == json!(action));
        let mut sent: Vec<(i64, String)> = all
            .map(|request| {
                let status = request.body["action_status"].as_str().unwrap_or_default().to_owned();
                (request.body["update_count"].as_i64().unwrap_or(-1), status)
            })
            .collect();
        sent.dedup();
        sent
    }

    /// State, unsettled events and parked events of the one lane.
    pub(crate) async fn lane(&self) -> (String, i64, i64) {
        let client = self.node.instance.database.client().await;
        let query = "select l.state, h.seq - l.acknowledged_seq,
                            (select count(*) from parked_events where resolution is null)
                       from lanes l join outbox_heads h using (network, destination)";
        let row = client.query_one(query, &[]).await.expect("the lane");
        (row.get(0), row.get(1), row.get(2))
    }

    pub(crate) async fn lane_is(&self, state: &str, waiting: i64, parked: i64) {
        eventually(&format!("the lane is {state}, {waiting} waiting, {parked} parked"), SOON, || async {
            let lane = self.lane().await;
            check((lane.0.as_str(), lane.1, lane.2) == (state, waiting, parked), format!("{lane:?}"))
        })
        .await;
    }
}

/// As existing peers answer.
pub(crate) fn taken(_: &Received) -> Reply {
    Reply::json(201, &json!({"event_id": null}))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_loses_and_parks_nothing() {
    let served = Served::start().await;
    let login = format!("{}/login", served.peer.url());
    let redirect = Reply { headers: vec![("location", login)], ..Reply::html(302, "") };
    let faults = [
        ("backing_off", Reply::html(200, "<title>It works!</title>")),
        ("backing_off", redirect),
        ("backing_off", Reply::html(404, "<title>No such page</title>")),
        ("refused", Reply::json(401, &json!({"error": "Unauthorized", "message": "Sign in."}))),
    ];
    for (state, reply) in faults {
        let action = served.performed().await;
        served.lane_is("ready", 0, 0).await;
        served.peer.answer(move |_| reply.clone());
        served.change(&action, "pending").await;
        served.change(&action, "accepted").await;
        served.lane_is(state, 2, 0).await;
        served.peer.answer(taken);
        // The peer is back and says so by what it does, however long the wait was to be.
        served.performed().await;
        served.lane_is("ready", 0, 0).await;
        let story = [(0, "created"), (1, "pending"), (2, "accepted")].map(|(count, status)| (count, status.to_owned()));
        assert_eq!(served.sent(&action), story);
    }
    assert!(served.peer.received("/login").is_empty(), "no redirect is followed");
    assert!(served.peer.received("/.well-known").is_empty(), "without a key there is nothing to ask");
    served.node.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_application_refuses_is_parked_and_the_lane_goes_on() {
    let served = Served::start().await;
    let action = served.performed().await;
    served.lane_is("ready", 0, 0).await;
    served.peer.answer(|request| match request.body["update_count"].as_i64() {
        Some(1) => Reply::json(422, &json!({"error": "UNKNOWN_STATUS", "message": "not here"})),
        _ => taken(request),
    });
    served.change(&action, "pending").await;
    served.change(&action, "accepted").await;
    served.lane_is("ready", 0, 1).await;
    assert_eq!(served.sent(&action).len(), 3);
    let metric = || served.node.process.metric("dpg_mirror_parked", &[]);
    eventually("the operator sees it", SOON, || async {
        let parked = metric().await;
        check(parked == Some(1.0), format!("{parked:?}"))
    })
    .await;
}
