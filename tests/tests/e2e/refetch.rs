//! The contract in force (CONTRACT 4.21, 8.4): a refetch reaches every process of the instance, or changes nothing.

use dpg_tests::log::{SOON, arrives};
use dpg_tests::network::{CONNECT, STUDENT, TUTOR, tutor_state};
use dpg_tests::pair::{PairOptions, Scene};
use dpg_tests::wait::check;
use dpg_tests::{Answer, Client, Contract, Fault, Instance, Node, Pair, Process, Role, TestDatabase, eventually, port};
use futures_util::future::join_all;
use serde_json::{Value, json};

const REFETCH: &str = "/api/v1/network/refetch_schemas";
const SCHEMAS: &str = "/api/v1/network/schemas";

/// One instance in three processes.
struct Three {
    instance: Instance,
    contract: Contract,
    processes: Vec<Process>,
    user: Client,
}

impl Three {
    async fn start() -> Self {
        let port = port::free();
        let url = port::url(port);
        let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url);
        let instance = Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract);
        let mut processes = vec![instance.spawn(Role::Serve, port), instance.spawn(Role::Api, port::free())];
        processes.push(instance.spawn(Role::Mirror, port::free()));
        for process in &mut processes {
            process.wait_ready().await;
        }
        let user = processes[0].sign_up("asha").await.at(&processes[0].url());
        Self { instance, contract, processes, user }
    }

    fn user_at(&self, process: usize) -> Client {
        self.user.at(&self.processes[process].url())
    }

    /// The contract with another name.
    fn named(&self, name: &str) -> Contract {
        self.contract.clone().edit(|document| document["display_name"] = json!(name))
    }

    async fn versions(&self) -> Vec<i64> {
        let client = self.instance.database.client().await;
        let rows = client.query("select version from contract_versions order by version", &[]).await.expect("versions");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until every process decides by `version`, under `name` where it answers.
    async fn all_at(&self, version: i64, name: &str) {
        for process in &self.processes {
            eventually("the process follows", SOON, || async {
                let seen = version_of(process).await;
                check(seen == json!(version), seen)
            })
            .await;
        }
        for process in &self.processes[..2] {
            assert_eq!(name_at(process).await, json!(name));
        }
    }
}

async fn version_of(process: &Process) -> Value {
    process.client().get("/health/ready").send().await.body["checks"]["contract"]["version"].clone()
}

async fn name_at(process: &Process) -> Value {
    let schemas = process.client().get(&format!("{SCHEMAS}?network=open_lessons")).send().await.expect(200);
    let configs = schemas.body.as_array().expect("an array").iter().filter(|entry| entry["kind"] == "network_config");
    configs.map(|entry| entry["schema"]["display_name"].clone()).next().expect("the network")
}

/// Forgets when the last refetch was, so that a test need not wait out the ten seconds between two.
async fn forget_the_last(instance: &Instance) {
    let client = instance.database.client().await;
    client.execute("update contract_refetch set began_at = '-infinity'", &[]).await.expect("the last refetch");
}

async fn refetch(instance: &Instance, user: &Client) -> Answer {
    forget_the_last(instance).await;
    user.post(REFETCH).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refetch_reaches_every_process_and_a_bad_contract_none() {
    let three = Three::start().await;
    three.all_at(1, "Open Lessons").await;
    three.processes[1].client().post(REFETCH).send().await.expect_error(401, "UNAUTHORIZED");

    three.instance.write_contract(&three.named("Second"));
    let answer = refetch(&three.instance, &three.user_at(1)).await.expect(200);
    assert_eq!(answer.body, json!({"refreshed": true, "schema_count": 3}), "{answer}");
    // Whoever answers has it already.
    assert_eq!(name_at(&three.processes[1]).await, json!("Second"));
    three.all_at(2, "Second").await;

    let before = three.processes[0].client().get(SCHEMAS).send().await.expect(200).body;
    let broken = three.named("Broken").instance("astronaut", "http://{{host}}:1").edit(|document| {
        document["domains"][0]["item_schemas"]["profile_1.0"]["type"] = json!(12);
        document["domains"][1]["item_schemas"]["profile_1.0"]["$ref"] = json!("#/$defs/absent");
    });
    three.instance.write_contract(&broken);
    let refused = refetch(&three.instance, &three.user_at(1)).await;
    refused.expect_error(502, "NETWORK_CONFIG_INVALID");
    for path in ["/domains/0/", "/domains/1/", "/instances/2"] {
        let details = refused.body["details"].as_array().expect("details");
        let named = details.iter().any(|fault| fault["path"].as_str().is_some_and(|it| it.starts_with(path)));
        assert!(named, "{path} is not named: {refused}");
    }
    three.instance.write_contract_text("{\"id\":");
    let refused = refetch(&three.instance, &three.user_at(0)).await;
    refused.expect_error(502, "REMOTE_SCHEMA_FETCH_FAILED");
    assert!(!refused.text.contains("network.json"), "{refused}");
    assert_eq!(three.versions().await, [1, 2]);
    three.all_at(2, "Second").await;
    let after = three.processes[0].client().get(SCHEMAS).send().await.expect(200).body;
    assert_eq!(after, before);

    three.instance.write_contract(&three.named("Third"));
    let _answer = refetch(&three.instance, &three.user_at(0)).await.expect(200);
    three.all_at(3, "Third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refetches_at_once_make_one_version_and_the_next_comes_ten_seconds_later() {
    let three = Three::start().await;
    three.instance.write_contract(&three.named("Second"));
    forget_the_last(&three.instance).await;
    let clients: Vec<Client> = (0..8).map(|number| three.user_at(number % 2)).collect();
    // The first one runs; whoever came before it began has its answer, the others share the next run.
    for answer in join_all(clients.iter().map(|client| client.post(REFETCH).send())).await {
        assert_eq!(answer.expect(200).body, json!({"refreshed": true, "schema_count": 3}));
    }
    let versions = three.versions().await;
    assert!(versions.len() <= 3, "eight calls at once made {versions:?}");
    let client = three.instance.database.client().await;
    client.execute("update contract_refetch set began_at = clock_timestamp()", &[]).await.expect("the last refetch");
    let (first, second) = (three.user_at(0), three.user_at(1));
    let answers = tokio::join!(first.post(REFETCH).send(), second.post(REFETCH).send());
    assert_eq!((answers.0.status, answers.1.status), (200, 200), "{answers:?}");
    let last = three.versions().await.len();
    assert_eq!(last, versions.len() + 1, "two calls at once did not share a run");
    three.all_at(i64::try_from(last).expect("a version"), "Second").await;
    let query = "select count(*) from (select read_at - lag(read_at) over (order by version) as pause
                   from contract_versions where read_at is not null) as runs where pause < interval '10 s'";
    let hasty: i64 = client.query_one(query, &[]).await.expect("the versions").get(0);
    assert_eq!(hasty, 0, "a run began within ten seconds of the one before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_in_the_middle_leaves_one_contract_for_all() {
    let mut three = Three::start().await;
    for round in 0..4 {
        let name = format!("Round {round}");
        three.instance.write_contract(&three.named(&name));
        forget_the_last(&three.instance).await;
        let call = three.user_at(1).post(REFETCH).try_send();
        let calling = tokio::spawn(call);
        // At a moment of its own each time: before, in, or after the commit.
        let seen = three.versions().await.len();
        for _ in 0..round * 3 {
            if three.versions().await.len() > seen {
                break;
            }
        }
        three.processes[1].kill();
        if let Ok(answer) = calling.await.expect("the call's task") {
            assert_eq!(answer.status, 200, "{answer}");
        }
        let versions = three.versions().await;
        assert_eq!(versions, (1..).take(versions.len()).collect::<Vec<i64>>());
        // Whoever starts now reads the file, and makes the version if the killed one has not.
        three.processes[1].restart().await;
        let version = i64::try_from(three.versions().await.len()).expect("a version");
        three.all_at(version, &name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_makes_a_version_only_of_other_documents() {
    let mut three = Three::start().await;
    assert_eq!(three.versions().await, [1]);
    assert!(three.processes[1].terminate().await.success());
    three.processes[1].restart().await;
    assert_eq!(three.versions().await, [1]);

    three.instance.write_contract(&three.named("Second"));
    assert!(three.processes[1].terminate().await.success());
    three.processes[1].restart().await;
    assert_eq!(three.versions().await, [1, 2]);
    three.all_at(2, "Second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_use_the_contract_in_force_keeps_its_own_and_says_so() {
    let three = Three::start().await;
    let client = three.instance.database.client().await;
    let newer = json!({"networks": [{"fetched_from": null, "document": {"id": 7}}], "named": {}}).to_string();
    client
        .batch_execute(&format!(
            "begin;
             insert into contract_documents (digest, documents) values ('\\x00', '{newer}');
             insert into contract_versions (version, digest) values (2, '\\x00');
             commit"
        ))
        .await
        .expect("a version of a newer binary");
    for process in &three.processes {
        eventually("the process says what it can't use", SOON, || async {
            let refused = process.metric("dpg_contract_refused_version", &[]).await;
            check(refused == Some(2.0), format!("{refused:?}"))
        })
        .await;
        assert_eq!(version_of(process).await, json!(1));
    }
    assert!(three.instance.logs().contains("this process can't use the contract in force"));
    assert_eq!(three.user.create(TUTOR, &tutor_state("Ravi")).send().await.status, 201);

    three.instance.write_contract(&three.named("Third"));
    let _answer = refetch(&three.instance, &three.user).await.expect(200);
    three.all_at(3, "Third").await;
    for process in &three.processes {
        eventually("there is nothing that it can't use", SOON, || async {
            let refused = process.metric("dpg_contract_refused_version", &[]).await;
            check(refused == Some(0.0), format!("{refused:?}"))
        })
        .await;
    }
}

/// CONTRACT 5.5: a new contract ends the wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_contract_ends_the_wait_of_lanes() {
    let pair = Pair::with(PairOptions { proxied_student: true, ..PairOptions::default() }).await;
    let scene = Scene::of_pair(&pair).await;
    let line = pair.student_line.as_ref().expect("a line");
    line.set(Fault::Refuse).await;
    let _set = scene.ravi.update_status(&scene.action, "accepted").send().await.expect(200);
    let database = pair.tutor.instance.database.client().await;
    eventually("the lane waits, and would for an hour", SOON, || async {
        let wait = "update lanes set next_attempt_at = clock_timestamp() + interval '1 h' where state = 'backing_off'";
        let waiting = database.execute(wait, &[]).await.expect("the lanes");
        check(waiting == 1, waiting)
    })
    .await;
    line.set(Fault::Pass).await;
    let tutor = &pair.tutor;
    let document = tutor.process.client().get(&format!("{SCHEMAS}?network=open_lessons")).send().await.expect(200);
    let document = document.body.as_array().expect("entries").iter().find(|entry| entry["kind"] == "network_config");
    let changed = Contract::from(document.expect("the network")["schema"].clone())
        .edit(|document| document["actions"][CONNECT]["description"] = json!("Ask for more lessons"));
    tutor.instance.write_contract(&changed);
    let _answer = refetch(&tutor.instance, &scene.ravi).await.expect(200);
    arrives(&scene.asha, &scene.action, 1).await;
}

/// The contract decides about the very next write, and about requests that come after the answer.
#[tokio::test(flavor = "multi_thread")]
async fn writes_are_decided_by_the_new_contract_at_once() {
    let node = Node::both().await;
    let ravi = node.sign_up("ravi").await;
    let item = ravi.create_tutor("Ravi").await;
    let path = format!("/api/v1/item/{}", item["item_id"].as_str().expect("an id"));
    let document = node.process.client().get(&format!("{SCHEMAS}?network=open_lessons")).send().await.expect(200);
    let document = document.body.as_array().expect("entries").iter().find(|entry| entry["kind"] == "network_config");
    let strict = Contract::from(document.expect("the network")["schema"].clone()).edit(|document| {
        document["domains"][1]["item_schemas"]["profile_1.0"]["required"] = json!(["name", "subject", "fee"]);
    });
    node.instance.write_contract(&strict);
    let _answer = refetch(&node.instance, &ravi).await.expect(200);
    ravi.create(TUTOR, &tutor_state("Ravi")).send().await.expect_error(400, "INVALID_ITEM_STATE");
    let change = json!({"item_state": tutor_state("Ravi")});
    ravi.patch(&path).json(&change).send().await.expect_error(400, "INVALID_ITEM_STATE");
    let mut paid = tutor_state("Ravi");
    paid["fee"] = json!(10);
    let _changed = ravi.patch(&path).json(&json!({"item_state": paid})).send().await.expect(200);
    assert_eq!(ravi.create(TUTOR, &paid).send().await.status, 201);
}

/// No process of the instance could start with such a contract, and peers would refuse what it signs.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_gives_us_other_keys_is_refused() {
    let private = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let node = Node::both_with(Contract::new(), |instance| instance.set("PEER_PRIVATE_KEY", private)).await;
    let ravi = node.sign_up("ravi").await;
    let keyed = Contract::new().instance(STUDENT, &node.instance.url).instance(TUTOR, &node.instance.url);
    let keyed = keyed.edit(|document| {
        document["instances"][0]["public_key"] = json!("ed25519:PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=");
    });
    node.instance.write_contract(&keyed);
    refetch(&node.instance, &ravi).await.expect_error(502, "NETWORK_CONFIG_INVALID");
    assert_eq!(version_of(&node.process).await, json!(1));
    let right = keyed.edit(|document| {
        document["instances"][0]["public_key"] = json!("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    });
    node.instance.write_contract(&right);
    let _answer = refetch(&node.instance, &ravi).await.expect(200);
    assert_eq!(version_of(&node.process).await, json!(2));
}
