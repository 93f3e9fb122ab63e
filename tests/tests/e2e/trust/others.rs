//! A registered peer says what is its own to say, and nothing about anybody else's actions, items or people.

use dpg_tests::Answer;
use dpg_tests::log::{arrives, projected};
use dpg_tests::network::{TUTOR, reference};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Bed, Call, Route, Signer};

async fn send(bed: &Bed, signer: &Signer, route: Route, body: Value) -> Answer {
    Call::of(route, body).signed(bed, signer, |_| {}).send().await
}

/// Trap 33: that action's id, an origin of one's own and a higher count.
#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_told_about_by_its_own_instance_alone() {
    let bed = Bed::start("enforced", |instance| instance).await;
    let action = Uuid::new_v4();
    let event = bed.event(&bed.one.url, &action);
    let _stored = send(&bed, &bed.one, Route::StoreEvent, event.clone()).await.expect(201);

    let taken = |claimed: &str, target: Option<&Value>| {
        let mut event = bed.event(claimed, &action);
        event["update_count"] = json!(9);
        event["action_status"] = json!("accepted");
        event["event_payload"]["status"] = json!("accepted");
        if let Some(target) = target {
            event["target_item"] = target.clone();
        }
        event
    };
    let refused = send(&bed, &bed.two, Route::StoreEvent, taken(&bed.two.url, None)).await;
    refused.expect_error(409, "EVENT_IDENTITY_CONFLICT");
    let mut same_item = event["target_item"].clone();
    same_item["item_instance_url"] = json!(bed.two.url);
    let refused = send(&bed, &bed.two, Route::StoreEvent, taken(&bed.two.url, Some(&same_item))).await;
    refused.expect_error(409, "EVENT_IDENTITY_CONFLICT");
    let refused = send(&bed, &bed.two, Route::StoreEvent, taken(&bed.two.url, Some(&event["target_item"]))).await;
    refused.expect_error(403, "EVENT_ORIGIN_MISMATCH");
    let refused = send(&bed, &bed.two, Route::StoreEvent, taken(&bed.one.url, Some(&event["target_item"]))).await;
    refused.expect_error(403, "PEER_IDENTITY_MISMATCH");

    // Neither does an id that is something else's serve: an item's, or an action's that is held here.
    let performed = send(&bed, &bed.one, Route::Perform, bed.perform(&bed.one.url)).await.expect(201);
    let held: Uuid = performed.text_at("action_id").parse().expect("a uuid");
    let item: Uuid = bed.source["item_id"].as_str().and_then(|id| id.parse().ok()).expect("a uuid");
    for (signer, id) in [(&bed.one, &held), (&bed.two, &held), (&bed.one, &item)] {
        let refused = send(&bed, signer, Route::StoreEvent, bed.event(&signer.url, id)).await;
        refused.expect_error(409, "EVENT_IDENTITY_CONFLICT");
    }

    // Nor in a batch, whose events are judged one by one.
    let mut theirs = taken(&bed.one.url, Some(&event["target_item"]));
    let (own_id, held_id) = (bed.event(&bed.two.url, &Uuid::new_v4()), bed.event(&bed.two.url, &held));
    let batch = bed.batch(&bed.two.url, &[taken(&bed.two.url, None), theirs.clone(), held_id, own_id]);
    let answer = send(&bed, &bed.two, Route::StoreBatch, batch).await.expect(200);
    let outcomes: Vec<(&Value, &Value)> = answer.body["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| (&result["outcome"], &result["error"]))
        .collect();
    let (rejected, stored, conflict) = (json!("rejected"), json!("stored"), json!("EVENT_IDENTITY_CONFLICT"));
    let foreign = json!("INVALID_EVENT_REQUEST");
    let expected = [(&rejected, &conflict), (&rejected, &foreign), (&rejected, &conflict), (&stored, &Value::Null)];
    assert_eq!(outcomes, expected, "{answer}");
    theirs["origin_instance_domain"] = json!(bed.two.url);
    let batch = bed.batch(&bed.two.url, &[theirs]);
    let answer = send(&bed, &bed.two, Route::StoreBatch, batch).await.expect(200);
    assert_eq!(answer.body["results"][0]["error"], json!("EVENT_ORIGIN_MISMATCH"), "{answer}");

    projected(&bed.node.instance.database.client().await).await;
    let row = arrives(&bed.asha, &action.to_string(), 0).await;
    assert_eq!((&row["action_status"], &row["update_count"]), (&json!("created"), &json!(0)), "{row}");
    assert_eq!(row["target_item_instance_url"], json!(bed.one.url));
    assert_eq!(bed.asha.events(&action.to_string()).await.len(), 1);
    let kept = bed.ravi.action(&held.to_string()).await.expect("the action");
    assert_eq!((&kept["action_status"], &kept["update_count"]), (&json!("created"), &json!(0)), "{kept}");
    bed.node.verify().await;
}

/// CONTRACT 4.12: an instance takes back what its own people have asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_changed_by_the_source_items_instance_alone() {
    let bed = Bed::start("enforced", |instance| instance).await;
    let wanted = bed.perform(&bed.one.url);
    let performed = send(&bed, &bed.one, Route::Perform, wanted.clone()).await.expect(201);
    let local = bed.asha.perform(&bed.source, &bed.target).send().await.expect(201);
    let change = |action: &Answer, source: &Value, owner: &str| {
        json!({"action_id": action.text_at("action_id"), "action_status": "cancelled", "source_item": source,
               "source_item_owner": owner})
    };
    let at = |item: &Value, url: &str| {
        let mut item = item.clone();
        item["item_instance_url"] = json!(url);
        item
    };
    let source = &wanted["source_item"];
    let foreign = change(&performed, &at(source, &bed.two.url), "owner-there");
    send(&bed, &bed.two, Route::UpdateStatus, foreign).await.expect_error(404, "ACTION_NOT_FOUND");
    let spoken_for = change(&performed, source, "owner-there");
    send(&bed, &bed.two, Route::UpdateStatus, spoken_for).await.expect_error(403, "PEER_IDENTITY_MISMATCH");
    let stranger = change(&performed, source, "somebody-else");
    send(&bed, &bed.one, Route::UpdateStatus, stranger).await.expect_error(403, "SOURCE_ITEM_NOT_OWNED");
    let accepted = json!({"action_id": performed.text_at("action_id"), "action_status": "accepted",
                          "source_item": source, "source_item_owner": "owner-there"});
    let refused = send(&bed, &bed.one, Route::UpdateStatus, accepted).await;
    refused.expect_error(403, "TARGET_ITEM_NOT_OWNED");
    // What our own people have asked for is theirs, whatever a peer says about where their item lives.
    let ours = change(&local, &at(&reference(&bed.source), &bed.one.url), &bed.asha.id);
    send(&bed, &bed.one, Route::UpdateStatus, ours).await.expect_error(404, "ACTION_NOT_FOUND");
    for answer in [&performed, &local] {
        let row = bed.ravi.action(&answer.text_at("action_id")).await.expect("the action");
        assert_eq!((&row["action_status"], &row["update_count"]), (&json!("created"), &json!(0)), "{row}");
    }
    let own = change(&performed, source, "owner-there");
    let set = send(&bed, &bed.one, Route::UpdateStatus, own).await.expect(200);
    assert_eq!((&set.body["action_status"], &set.body["update_count"]), (&json!("cancelled"), &json!(1)));
    bed.node.verify().await;
}

/// CONTRACT 2.4: an owner id that comes with a peer's item never matches a user here, nor does an item id.
#[tokio::test(flavor = "multi_thread")]
async fn a_peers_items_and_owners_are_never_our_peoples() {
    let bed = Bed::start("enforced", |instance| instance).await;
    let mut body = bed.perform(&bed.one.url);
    body["source_item_owner"] = json!(bed.asha.id);
    body["source_item"]["item_id"] = bed.source["item_id"].clone();
    let performed = send(&bed, &bed.one, Route::Perform, body).await.expect(201);
    let action = performed.text_at("action_id");
    arrives(&bed.ravi, &action, 0).await;
    assert_eq!(bed.asha.action(&action).await, None, "a peer planted an action among our user's own");
    assert!(bed.asha.events(&action).await.is_empty());
    bed.asha.update_status(&action, "cancelled").send().await.expect_error(403, "TARGET_ITEM_NOT_OWNED");

    // The other way round: whose the source item of a mirrored event is, is known here.
    let id = Uuid::new_v4();
    let mut event = bed.event(&bed.one.url, &id);
    event["source_item_owner"] = json!(bed.ravi.id);
    event["target_item_owner"] = json!(bed.ravi.id);
    let _stored = send(&bed, &bed.one, Route::StoreEvent, event).await.expect(201);
    let row = arrives(&bed.asha, &id.to_string(), 0).await;
    assert_eq!((&row["source_item_owner"], &row["ownership_roles"]), (&json!(bed.asha.id), &json!(["initiated"])));
    assert_eq!(bed.ravi.action(&id.to_string()).await, None, "an owner at a peer was taken for our user");
    bed.ravi.update_status(&id.to_string(), "accepted").send().await.expect_error(403, "TARGET_ITEM_NOT_OWNED");
}

/// CONTRACT 4.10: a key is its source instance's, by whatever spelling it is called.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_instance_says_nothing_about_anothers() {
    let bed = Bed::start("permissive", |instance| instance).await;
    let perform = async |signer: &Signer, body: &Value| {
        let call = Call::with_key(Route::Perform, body.clone(), "the-same-key");
        call.signed(&bed, signer, |_| {}).send().await
    };
    let (of_one, of_two) = (bed.perform(&bed.one.url), bed.perform(&bed.two.url));
    let first = perform(&bed.one, &of_one).await.expect(201);
    let second = perform(&bed.two, &of_two).await.expect(201);
    assert_ne!(first.body["action_id"], second.body["action_id"]);
    assert_eq!(perform(&bed.one, &of_one).await.expect(201).body, first.body);
    perform(&bed.two, &bed.perform(&bed.two.url)).await.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
    let seen = bed.ravi.get("/api/v1/action/fetch").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(2), "{seen}");
}

/// An id alone names no item: network, domain and type belong to it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_about_an_item_as_it_is() {
    let bed = Bed::start("enforced", |instance| instance).await;
    for (key, value) in [("item_domain", TUTOR), ("item_type", "profile_2.0")] {
        let mut event = bed.event(&bed.one.url, &Uuid::new_v4());
        event["source_item"][key] = json!(value);
        let refused = send(&bed, &bed.one, Route::StoreEvent, event).await;
        refused.expect_error(404, "SOURCE_ITEM_NOT_FOUND");
    }
}
