//! A contract that makes a property private (CONTRACT 8.6): nobody but the owner sees it from the answer of the refetch on,
//! and every item is split again in the background, whatever happens to the processes meanwhile.

use dpg_tests::log::SOON;
use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, tutor_state};
use dpg_tests::wait::check;
use dpg_tests::{Client, Contract, Instance, Process, Role, TestDatabase, User, eventually, port};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Stands in every value that is public first and private later.
const MARK: &str = "harbour street";

/// An instance of both domains whose students have given what will become private.
struct Town {
    instance: Instance,
    contract: Contract,
    serve: Process,
    api: Process,
    asha: User,
    items: Vec<String>,
}

fn state(number: usize) -> Value {
    json!({
        "name": format!("Asha {number}"), "city": format!("{MARK} {number}"), "phone": "1234567890",
        "extra": {"street": MARK, "floor": 2}, "tags": [MARK, "music"],
        "contacts": [{"label": MARK, "number": "1"}, {"label": "work"}]
    })
}

/// Makes private: a property, one inside an object, all of an array, and one inside the elements of an array.
fn closed(contract: &Contract) -> Contract {
    contract.clone().edit(|document| {
        let schema = &mut document["domains"][0]["item_schemas"][PROFILE]["properties"];
        schema["city"]["private"] = json!(true);
        schema["extra"]["properties"] = json!({"street": {"private": true}});
        schema["tags"]["items"]["private"] = json!(true);
        schema["contacts"]["items"]["properties"]["label"]["private"] = json!(true);
        let interaction = &mut document["actions"][CONNECT]["interactions"][0];
        interaction["requirement_schema"]["properties"]["city"] = json!({"type": "string"});
    })
}

impl Town {
    async fn of(items: usize) -> Self {
        let port = port::free();
        let url = port::url(port);
        let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url);
        let instance = Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract);
        let serve = instance.start(Role::Serve, port).await;
        let api = instance.start(Role::Api, port::free()).await;
        let asha = serve.sign_up("asha").await;
        let mut made = Vec::new();
        while made.len() < items {
            let batch = (made.len()..items.min(made.len() + 100)).map(|n| {
                let state = state(n);
                let asha = &asha;
                async move { asha.create(STUDENT, &state).send().await.expect(201).text_at("item_id") }
            });
            made.extend(join_all(batch).await);
        }
        Self { instance, contract, serve, api, asha, items: made }
    }

    /// Closes the contract by way of `client`.
    async fn close(&self, client: &Client) {
        self.instance.write_contract(&closed(&self.contract));
        let _answer = client.post("/api/v1/network/refetch_schemas").send().await.expect(200);
    }

    /// As if the new contract had been in force for long, so that a test need not wait for appends that there are not.
    async fn settle(&self) {
        let client = self.instance.database.client().await;
        let sql = "update contract_resplits set since = since - interval '1 h'";
        client.execute(sql, &[]).await.expect("the work to be done");
    }

    /// Waits until no item is left to be split again.
    async fn all_split(&self) {
        let client = self.instance.database.client().await;
        eventually("every item is split again", SOON, || async {
            let left: i64 = client.query_one("select count(*) from contract_resplits", &[]).await.expect("it").get(0);
            check(left == 0, left)
        })
        .await;
    }

    /// Asks everything that tells of items to strangers and peers, by pages and by filters that try to find it out.
    async fn assert_hidden_from_others(&self, process: &Process) {
        let stranger = process.client();
        let pair = format!("item_network={NETWORK}&item_domain={STUDENT}");
        let filters = ["", "&item_state[city]=harbour+street+1", "&item_state[extra][street]=harbour+street"];
        for filter in filters {
            let page = stranger.get(&format!("/api/v1/network/item/fetch?{pair}&limit=100{filter}")).send().await;
            assert!(!page.text.contains(MARK), "{page}");
            assert!(filter.is_empty() || page.status != 200 || page.body["meta"]["total"] == json!(0), "{page}");
        }
        for state in [json!({}), json!({"tags": [MARK]}), json!({"contacts": [{"label": MARK}]})] {
            let mut body = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_state": state});
            let count = stranger.post("/api/v1/network/item/count_local").json(&body).send().await;
            let asked = state != json!({});
            assert!(!asked || count.status != 200 || count.body["count"] == json!(0), "{count}");
            body["limit"] = json!(100);
            body["offset"] = json!(0);
            let page = stranger.post("/api/v1/network/item/fetch_local").json(&body).send().await;
            assert!(!page.text.contains(MARK), "{page}");
        }
    }

    /// The owner sees whole states, and filters on what is private match nothing, for the owner too.
    async fn assert_owner_sees_all(&self, process: &Process) {
        let asha = self.asha.at(&process.url());
        let page = asha.items(STUDENT, "limit=100").send().await.expect(200);
        for item in page.body["items"].as_array().expect("items") {
            let name = item["item_state"]["name"].as_str().expect("a name");
            let number = name.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
            assert_eq!(item["item_state"], state(number), "{item}");
        }
        for filter in
            ["city]=harbour+street+1", "extra][street]=harbour+street", "tags][]=music", "contacts][][label]=work"]
        {
            let page = asha.items(STUDENT, &format!("item_state[{filter}")).send().await.expect(200);
            assert_eq!(page.body["meta"]["total"], json!(0), "{filter}: {page}");
        }
        let page = asha.items(STUDENT, "item_state[name]=Asha+0&item_state[extra][floor]=2").send().await.expect(200);
        assert_eq!(page.body["meta"]["total"], json!(1), "{page}");
    }

    /// Nothing is private yet.
    async fn assert_owner_sees_public(&self, process: &Process) {
        let page = self.asha.at(&process.url()).items(STUDENT, "item_state[tags][]=music").send().await.expect(200);
        assert_eq!(page.body["meta"]["total"], json!(self.items.len()), "{page}");
    }

    /// What is stored: each item has one more version by `system`, without the mark in log or table.
    async fn assert_stored(&self) {
        let client = self.instance.database.client().await;
        let sql = "select count(*), count(distinct stream_id), max(version) from event_log
                    where event_type = 'item.updated' and metadata ->> 'actor' = 'system'";
        let row = client.query_one(sql, &[]).await.expect("the log");
        let items = i64::try_from(self.items.len()).expect("a count");
        assert_eq!((row.get(0), row.get(1), row.get(2)), (items, items, 2), "one update for each item");
        let sql = "select (select count(*) from event_log where version > 1 and payload::text like '%' || $1 || '%'),
                          (select count(*) from items_live.items where item_state::text like '%' || $1 || '%'),
                          (select count(*) from items_live.items where item_private_state::text like '%' || $1 || '%')";
        let row = client.query_one(sql, &[&MARK]).await.expect("the tables");
        assert_eq!((row.get(0), row.get(1), row.get(2)), (0_i64, 0_i64, items), "log, public and private halves");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_private_is_hidden_at_once_and_split_again() {
    let town = Town::of(60).await;
    let ravi = town.serve.sign_up("ravi").await;
    let tutor = ravi.create(TUTOR, &tutor_state("Ravi")).send().await.expect(201).body;
    let api = town.asha.at(&town.api.url());
    town.close(&api).await;
    // Whoever has answered hides it, and what is handed over comes from the private half.
    town.assert_hidden_from_others(&town.api).await;
    town.assert_owner_sees_all(&town.api).await;
    let source =
        api.items(STUDENT, &format!("item_id={}", town.items[0])).send().await.expect(200).body["items"][0].clone();
    let action = api.perform(&source, &tutor).send().await.expect(201).text_at("action_id");
    let action = town.asha.action(&action).await.expect("the action");
    assert_eq!(action["requirements_snapshot"]["city"], source["item_state"]["city"], "{action}");
    assert!(source["item_state"]["city"].as_str().expect("a city").contains(MARK), "{source}");

    town.settle().await;
    town.all_split().await;
    town.assert_stored().await;
    for process in [&town.api, &town.serve] {
        town.assert_hidden_from_others(process).await;
        town.assert_owner_sees_all(process).await;
    }
    let history = api.get(&format!("/api/v1/item/{}/history", town.items[0])).send().await.expect(200);
    let versions = history.body["versions"].as_array().expect("versions");
    assert_eq!((versions.len(), &versions[1]["actor"]), (2, &json!("system")), "{history}");
    assert_eq!(versions[1]["item"]["item_state"], versions[0]["item"]["item_state"], "{history}");
    dpg_tests::log::verify(&town.instance).await;
}

/// A change of coordinates carries the state on, and must not bring into the log what is private by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_before_the_background_job_splits_the_item_itself() {
    let town = Town::of(1).await;
    let client = town.instance.database.client().await;
    town.close(&town.asha).await;
    // The job works in both processes; whichever is first, neither may publish the mark again.
    let path = format!("/api/v1/item/{}", town.items[0]);
    let moved = json!({"item_latitude": 18.5, "item_longitude": 73.8});
    let answer = town.asha.patch(&path).json(&moved).send().await.expect(200);
    assert_eq!(answer.body["item"]["item_state"], state(0), "{answer}");
    town.settle().await;
    town.all_split().await;
    let sql = "select count(*) from event_log where version > 1 and payload::text like '%' || $1 || '%'";
    let told: i64 = client.query_one(sql, &[&MARK]).await.expect("the log").get(0);
    assert_eq!(told, 0);
    town.assert_owner_sees_all(&town.serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_costs_nothing_and_splits_nothing_twice() {
    let mut town = Town::of(1500).await;
    let client = town.instance.database.client().await;
    town.close(&town.asha).await;
    for victim in 0..3 {
        let sql = "select count(*) from event_log where metadata ->> 'actor' = 'system'";
        let before: i64 = client.query_one(sql, &[]).await.expect("the log").get(0);
        eventually("the job has gone on", SOON, || async {
            let split: i64 = client.query_one(sql, &[]).await.expect("the log").get(0);
            check(split > before || split == 1500, split)
        })
        .await;
        let process = if victim % 2 == 0 { &mut town.serve } else { &mut town.api };
        process.kill();
        process.restart().await;
    }
    town.settle().await;
    town.all_split().await;
    town.assert_stored().await;
    dpg_tests::log::verify(&town.instance).await;
}

/// A database from before contracts were stored: nobody knows by which one its items were split.
#[tokio::test(flavor = "multi_thread")]
async fn items_older_than_the_first_stored_contract_are_split_again() {
    let mut town = Town::of(5).await;
    town.serve.kill();
    town.api.kill();
    let client = town.instance.database.client().await;
    client.batch_execute("delete from contract_versions; delete from contract_documents").await.expect("no contract");
    town.instance.write_contract(&closed(&town.contract));
    town.serve.restart().await;
    town.assert_hidden_from_others(&town.serve).await;
    town.assert_owner_sees_all(&town.serve).await;
    town.settle().await;
    town.all_split().await;
    town.assert_stored().await;
}

/// The head of a create, until the process asks for the body.
async fn begin_create(process: &Process, token: &str, body: &str) -> TcpStream {
    let address = process.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    let head = format!(
        "POST /api/v1/item/create HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let mut told = [0; 25];
    stream.read_exact(&mut told).await.expect("an interim answer");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// A request that came before the refetch is decided by the contract of its time, however slowly its body arrives.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_the_old_contract_still_decides_is_split_again_too() {
    let mut town = Town::of(3).await;
    let client = town.instance.database.client().await;
    let new = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE, "item_state": state(3)});
    let body = new.to_string();
    // So that the slow request finds its connections open.
    town.assert_owner_sees_public(&town.api).await;
    let mut slow = begin_create(&town.api, &town.asha.token, &body).await;
    town.close(&town.asha).await;
    town.settle().await;
    eventually("what was there before is split again", SOON, || async {
        let sql = "select count(*) from event_log where metadata ->> 'actor' = 'system'";
        let split: i64 = client.query_one(sql, &[]).await.expect("the log").get(0);
        check(split == 3, split)
    })
    .await;
    // The job comes again and again, and finds each time that it is not over.
    for _ in 0..6 {
        let touched = || async {
            let row = client.query_opt("select xmin::text from contract_resplits", &[]).await.expect("the work");
            row.map(|row| row.get::<_, String>(0))
        };
        let before = touched().await;
        eventually("the job takes or leaves the domain", SOON, || async {
            let now = touched().await;
            check(now != before || now.is_none(), format!("{now:?}"))
        })
        .await;
        if touched().await.is_none() {
            drop(slow.write_all(body.as_bytes()).await);
            let mut answer = String::new();
            drop(slow.read_to_string(&mut answer).await);
            panic!("it was over while a request was decided by the old contract: {answer}");
        }
    }
    slow.write_all(body.as_bytes()).await.expect("the body is sent");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (_, made) = answer.split_once("\"item_id\":\"").expect("an item");
    town.items.push(made[..36].to_owned());
    town.all_split().await;
    town.assert_stored().await;
    town.assert_owner_sees_all(&town.api).await;
}
