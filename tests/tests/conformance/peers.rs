//! CONTRACT 2.5 and 2.6: signatures between peers, and what an instance asks of them.

use dpg_tests::network::{NETWORK, STUDENT, TUTOR, perform_from};
use dpg_tests::{Client, Instance, Node, TestDatabase, port};
use serde_json::{Value, json};

use crate::events::STORE;
use crate::signer::{Signature, Signer};
use crate::suite::Suite;
use crate::world::World;

const PERFORM: &str = "/api/v1/network/action/perform";

pub async fn cases(suite: &mut Suite, world: &World) {
    signatures(suite, world).await;
    permissive(suite, world).await;
    enforced(suite, world).await;
    off(suite).await;
}

/// What a case makes wrong in a signature.
type Change = fn(&mut Signature);

async fn signatures(suite: &mut Suite, world: &World) {
    let mut route = suite.route("2.5 peer signatures");
    let target = world.tutor().await;
    let body = perform_from(&world.keyed.url(), &target);
    route
        .case("a signature made from the contract alone is accepted", async {
            let _made = world.keyed_key.post(world.b_url(), PERFORM, &body).await.expect(201);
        })
        .await;
    route
        .case("@authority may be any alias of ours; keyid any spelling of the sender", async {
            let mut how = world.keyed_key.signature();
            how.authority = Some(world.b_url().replace("http://127.0.0.1", "localhost"));
            let answer = world.keyed_key.post_with(world.b_url(), PERFORM, &body, how).await;
            // The authority that is covered has to be the one that was sent; the client sent the other spelling.
            answer.expect_error(401, "PEER_SIGNATURE_INVALID");
            let mut how = world.keyed_key.signature();
            how.keyid = format!("{}/", world.keyed.url().replace("127.0.0.1", "localhost"));
            let _made = world.keyed_key.post_with(world.b_url(), PERFORM, &body, how).await.expect(201);
        })
        .await;
    let wrong: [(&str, Change); 14] = [
        ("a wrong signature", |how| how.broken = true),
        ("another body's digest", |how| how.digested = Some("{}".to_owned())),
        ("older than 300 s", |how| how.age = -310),
        ("from the future", |how| how.age = 310),
        ("another algorithm", |how| how.algorithm = "rsa-pss-sha512"),
        ("another tag", |how| how.tag = "web-bot-auth"),
        ("another label", |how| how.label = "sig1"),
        ("a keyid that is not registered", |how| how.keyid = "http://nowhere.example".to_owned()),
        ("another instance's authority", |how| how.authority = Some("elsewhere.example".to_owned())),
        ("@method is not covered", |how| how.covered.retain(|name| *name != "@method")),
        ("@authority is not covered", |how| how.covered.retain(|name| *name != "@authority")),
        ("@path is not covered", |how| how.covered.retain(|name| *name != "@path")),
        ("content-digest is not covered", |how| how.covered.retain(|name| *name != "content-digest")),
        ("nothing is covered", |how| how.covered.clear()),
    ];
    for (name, change) in wrong {
        route
            .case(format!("401 PEER_SIGNATURE_INVALID: {name}"), async {
                let mut how = world.keyed_key.signature();
                change(&mut how);
                let answer = world.keyed_key.post_with(world.b_url(), PERFORM, &body, how).await;
                answer.expect_error(401, "PEER_SIGNATURE_INVALID");
            })
            .await;
    }
    for age in [-280, 280] {
        route
            .case(format!("created {age} s away is accepted"), async {
                let mut how = world.keyed_key.signature();
                how.age = age;
                let _made = world.keyed_key.post_with(world.b_url(), PERFORM, &body, how).await.expect(201);
            })
            .await;
    }
    route
        .case("401 PEER_SIGNATURE_INVALID: a write's nonce comes a second time", async {
            for status in [201, 401] {
                let mut how = world.keyed_key.signature();
                how.nonce = "q83vEjRWeJCrze8SNFZ4kA".to_owned();
                assert_eq!(world.keyed_key.post_with(world.b_url(), PERFORM, &body, how).await.status, status);
            }
        })
        .await;
    route
        .case("401 PEER_SIGNATURE_INVALID: the query or a sent Idempotency-Key is not covered", async {
            let path = format!("{PERFORM}?x=1");
            world.keyed_key.post(world.b_url(), &path, &body).await.expect_error(401, "PEER_SIGNATURE_INVALID");
            let mut how = world.keyed_key.signature();
            how.covered.push("@query");
            let _made = world.keyed_key.post_with(world.b_url(), &path, &body, how).await.expect(201);
        })
        .await;
    for headers in [
        vec![("signature", "dpg=:AAAA:")],
        vec![("signature-input", "dpg=()")],
        vec![("signature", "nonsense"), ("signature-input", "nonsense"), ("content-digest", "nonsense")],
    ] {
        route
            .case(format!("401 PEER_SIGNATURE_INVALID before the body: {headers:?}"), async {
                let asked = world.b.process.client().post(PERFORM).raw("application/json", "{");
                let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(name, value));
                asked.send().await.expect_error(401, "PEER_SIGNATURE_INVALID");
            })
            .await;
    }
    route
        .case("403 PEER_IDENTITY_MISMATCH: a valid signature of somebody else", async {
            let claimed = perform_from(&world.foreign.url(), &target);
            world.keyed_key.post(world.b_url(), PERFORM, &claimed).await.expect_error(403, "PEER_IDENTITY_MISMATCH");
        })
        .await;
}

async fn permissive(suite: &mut Suite, world: &World) {
    let mut route = suite.route("2.6 peer policy");
    let target = world.tutor().await;
    let b = world.b.process.client();
    route
        .case("permissive: unsigned from a peer with a key is 401, without one it is accepted", async {
            let keyed = perform_from(&world.keyed.url(), &target);
            b.post(PERFORM).json(&keyed).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
            let foreign = perform_from(&world.foreign.url(), &target);
            let _made = b.post(PERFORM).json(&foreign).send().await.expect(201);
            let event = world.event_from(&world.keyed.url(), &world.student().await);
            world.nobody().post(STORE).json(&event).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
            let _stored = world.keyed_key.post(world.a_url(), STORE, &event).await.expect(201);
        })
        .await;
    route
        .case("the body's schema comes before trust: 400 for a bad body without a signature", async {
            b.post(PERFORM).json(&json!({})).send().await.expect_error(400, "VALIDATION_ERROR");
        })
        .await;
}

async fn enforced(suite: &mut Suite, world: &World) {
    let mut route = suite.route("2.6 peer policy");
    let (strict, url) = (world.strict.process.client(), world.strict.instance.url.as_str());
    let ravi = world.strict.sign_up("ravi").await;
    let target = ravi.create_tutor("Ravi").await;
    route
        .case("enforced: unsigned writes are 401 before the body, from anyone", async {
            for path in [PERFORM, STORE, "/api/v1/network/action/update-status"] {
                strict
                    .post(path)
                    .raw("application/json", "{")
                    .send()
                    .await
                    .expect_error(401, "PEER_SIGNATURE_REQUIRED");
            }
            let foreign = perform_from(&world.foreign.url(), &target);
            strict.post(PERFORM).json(&foreign).send().await.expect_error(401, "PEER_SIGNATURE_REQUIRED");
        })
        .await;
    route
        .case("enforced: signed is accepted, and between our own instances all is signed", async {
            let keyed = perform_from(&world.keyed.url(), &target);
            let _made = world.keyed_key.post(url, PERFORM, &keyed).await.expect(201);
            let source = world.student().await;
            let made = world.asha.perform(&source, &target).send().await.expect(201);
            dpg_tests::log::arrives(&world.asha, &made.text_at("action_id"), 0).await;
        })
        .await;
    route
        .case("enforced: a broken signature is 401 PEER_SIGNATURE_INVALID", async {
            let keyed = perform_from(&world.keyed.url(), &target);
            let mut how = world.keyed_key.signature();
            how.broken = true;
            world.keyed_key.post_with(url, PERFORM, &keyed, how).await.expect_error(401, "PEER_SIGNATURE_INVALID");
        })
        .await;
}

/// An instance that verifies nothing, alone in a network with a peer that has a key.
struct Trusting {
    node: Node,
    peer: Signer,
    target: Value,
}

impl Trusting {
    async fn start() -> Self {
        let port = port::free();
        let (url, peer) = (port::url(port), Signer::new(&port::url(port::free())));
        let contract = crate::world::contract().instance(TUTOR, &url).instance(STUDENT, &peer.url);
        let contract = contract.edit(|document| document["instances"][1]["public_key"] = json!(peer.public()));
        let instance = Instance::new("trusting", &[TUTOR], &url, TestDatabase::create().await, &contract);
        let node = Node::of(instance.set("PEER_AUTH", "off"), port).await;
        let target = node.sign_up("ravi").await.create_tutor("Ravi").await;
        Self { node, peer, target }
    }
}

async fn off(suite: &mut Suite) {
    let mut route = suite.route("2.6 peer policy");
    let mut trusting = None;
    route.case("an instance with PEER_AUTH=off starts", async { trusting = Some(Trusting::start().await) }).await;
    let Some(trusting) = trusting else { return };
    let client: Client = trusting.node.process.client();
    let body = perform_from(&trusting.peer.url, &trusting.target);
    route
        .case("off: unsigned, signed and wrongly signed writes are accepted", async {
            let made = client.post(PERFORM).json(&body).send().await.expect(201);
            let mut how = trusting.peer.signature();
            how.broken = true;
            let url = &trusting.node.instance.url;
            let _made = trusting.peer.post_with(url, PERFORM, &body, how).await.expect(201);
            let change = json!({"action_id": made.body["action_id"], "action_status": "cancelled", "source_item": body["source_item"],
                "source_item_owner": "somebody"});
            let _changed = client.post("/api/v1/network/action/update-status").json(&change).send().await.expect(200);
        })
        .await;
    route
        .case("off: the claim is judged all the same", async {
            let mut ours = body.clone();
            ours["source_item"]["item_instance_url"] = json!(trusting.node.instance.url);
            client.post(PERFORM).json(&ours).send().await.expect_error(403, "PEER_IDENTITY_MISMATCH");
            let mut stranger = body.clone();
            stranger["source_item"]["item_instance_url"] = json!("http://evil.example");
            client.post(PERFORM).json(&stranger).send().await.expect_error(403, "PEER_NOT_REGISTERED");
            assert_eq!(body["target_item"]["item_network"], json!(NETWORK));
        })
        .await;
}
