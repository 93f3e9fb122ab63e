//! One bad peer costs its own lane and nobody else's: of ten, one refuses, one hangs and one answers too late, and the
//! other seven get everything meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use dpg_tests::log::SOON;
use dpg_tests::network::{STUDENT, TUTOR, perform_from};
use dpg_tests::peer::{Peer, Reply};
use dpg_tests::wait::check;
use dpg_tests::{Contract, Fault, Instance, Node, Proxy, TestDatabase, User, eventually, port};
use serde_json::{Value, json};

const HEALTHY: usize = 7;
/// What the last three do.
const FAULTS: [Fault; 3] = [Fault::Refuse, Fault::Hang, Fault::Delay(Duration::from_secs(5))];
const CHANGES: i64 = 10;

/// A peer of another make, an action that it performed, and the line to it if that can break.
struct Student {
    peer: Peer,
    line: Option<Proxy>,
    url: String,
    action: String,
}

impl Student {
    async fn start(faulty: bool) -> Self {
        let peer = Peer::start(|_| Reply::json(201, &json!({"event_id": null}))).await;
        let port = peer.url().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        let line = if faulty { Some(Proxy::start(port).await) } else { None };
        let url = line.as_ref().map_or_else(|| peer.url(), Proxy::url);
        Self { peer, line, url, action: String::new() }
    }

    /// The counts of its action's events in the order in which they first came.
    fn taken(&self) -> Vec<i64> {
        let events = self.peer.received("/api/v1/event/store").into_iter();
        let ours = events.filter(|request| request.body["action_id"] == json!(self.action));
        let mut known = BTreeSet::new();
        let counts = ours.filter_map(|request| request.body["update_count"].as_i64());
        counts.filter(|count| known.insert(*count)).collect()
    }
}

/// The instance that holds the actions of all ten.
struct Ten {
    node: Node,
    ravi: User,
    target: Value,
    students: Vec<Student>,
}

impl Ten {
    async fn start() -> Self {
        let mut students = Vec::new();
        for number in 0..HEALTHY + FAULTS.len() {
            students.push(Student::start(number >= HEALTHY).await);
        }
        let port = port::free();
        let url = port::url(port);
        let contract = Contract::new().instance(TUTOR, &url);
        let contract = students.iter().fold(contract, |contract, student| contract.instance(STUDENT, &student.url));
        let instance = Instance::new("tutor", &[TUTOR], &url, TestDatabase::create().await, &contract);
        let node = Node::of(instance.set("PEER_TIMEOUT_MS", "1000"), port).await;
        let ravi = node.sign_up("ravi").await;
        let target = ravi.create_tutor("Ravi").await;
        let mut ten = Self { node, ravi, target, students: Vec::new() };
        for student in students {
            let action = ten.perform(&student.url).await;
            ten.students.push(Student { action, ..student });
        }
        ten
    }

    /// A peer performs an action, which is contact too.
    async fn perform(&self, student: &str) -> String {
        let body = perform_from(student, &self.target);
        let answer = self.node.process.client().post("/api/v1/network/action/perform").json(&body).send().await;
        answer.expect(201).text_at("action_id")
    }

    /// Changes every action in turn.
    async fn change(&self, counts: std::ops::RangeInclusive<i64>) {
        for count in counts {
            let status = if count % 2 == 0 { "pending" } else { "accepted" };
            for student in &self.students {
                let changed = self.ravi.update_status(&student.action, status).send().await.expect(200);
                assert_eq!(changed.body["update_count"], json!(count));
            }
        }
    }

    /// State, acknowledged events and owed events of every peer's lane, in the order of the peers.
    async fn lanes(&self) -> Vec<(String, i64, i64)> {
        let client = self.node.instance.database.client().await;
        let query = "select coalesce(l.state, 'ready'), coalesce(l.acknowledged_seq, 0), h.seq
                       from outbox_heads h left join lanes l using (network, destination)
                      where h.destination like '%:' || $1";
        let mut lanes = Vec::new();
        for student in &self.students {
            let port = student.url.rsplit_once(':').expect("a port").1;
            let row = client.query_one(query, &[&port]).await.expect("the lane");
            lanes.push((row.get(0), row.get(1), row.get(2)));
        }
        lanes
    }

    async fn lanes_are(&self, what: &str, holds: impl Fn(&[(String, i64, i64)]) -> bool) {
        eventually(what, SOON, || async {
            let lanes = self.lanes().await;
            check(holds(&lanes), format!("{lanes:?}"))
        })
        .await;
    }
}

fn settled((state, acknowledged, owed): &(String, i64, i64)) -> bool {
    state == "ready" && acknowledged == owed
}

#[tokio::test(flavor = "multi_thread")]
async fn three_bad_peers_of_ten_cost_the_others_nothing() {
    let ten = Ten::start().await;
    ten.lanes_are("all ten have their first event", |lanes| lanes.iter().all(settled)).await;
    for (student, fault) in ten.students[HEALTHY..].iter().zip(FAULTS) {
        student.line.as_ref().expect("a line that can break").set(fault).await;
    }
    ten.change(1..=CHANGES / 2).await;
    let backs_off = |lane: &(String, i64, i64)| lane.0 == "backing_off";
    ten.lanes_are("three back off", |lanes| lanes[HEALTHY..].iter().all(backs_off)).await;

    ten.change(CHANGES / 2 + 1..=CHANGES).await;
    ten.lanes_are("seven have everything", |lanes| lanes[..HEALTHY].iter().all(settled)).await;
    let story: Vec<i64> = (0..=CHANGES).collect();
    for student in &ten.students[..HEALTHY] {
        assert_eq!(student.taken(), story);
    }
    // Nobody came back meanwhile: all that happened since is in the way of the three alone.
    let bad = ten.lanes().await.split_off(HEALTHY);
    assert!(bad.iter().all(|lane| backs_off(lane) && (lane.1, lane.2) == (1, CHANGES + 1)), "{bad:?}");

    for student in &ten.students[HEALTHY..] {
        student.line.as_ref().expect("a line that can break").set(Fault::Pass).await;
        ten.perform(&student.url).await;
    }
    ten.lanes_are("all ten have everything", |lanes| lanes.iter().all(settled)).await;
    for student in &ten.students {
        assert_eq!(student.taken(), story);
    }
    ten.node.verify().await;
}
