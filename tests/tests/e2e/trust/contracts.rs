//! Keys come and go with the contract, in every process (CONTRACT 2.5, 8.4).

use dpg_tests::log::SOON;
use dpg_tests::wait::check;
use dpg_tests::{Answer, PeerKey, Process, Role, Signer, eventually, port};
use serde_json::{Value, json};

use super::{Bed, Call, ROUTES};

/// The contract with other keys for the first peer, in force for everything that starts after this.
async fn give_keys(bed: &Bed, keys: &[&PeerKey]) {
    let texts: Vec<&str> = keys.iter().map(|key| key.public.as_str()).collect();
    refetch(bed, |document| {
        for entry in document["instances"].as_array_mut().expect("instances") {
            if entry["instance_url"] == json!(bed.one.url) {
                entry.as_object_mut().expect("an entry").remove("public_key");
                entry["public_keys"] = json!(texts);
            }
        }
    })
    .await;
}

async fn refetch(bed: &Bed, change: impl FnOnce(&mut Value)) {
    bed.node.instance.write_contract(&bed.contract.clone().edit(change));
    let client = bed.node.instance.database.client().await;
    client.execute("update contract_refetch set began_at = '-infinity'", &[]).await.expect("the last refetch");
    let _answer = bed.asha.post("/api/v1/network/refetch_schemas").send().await.expect(200);
}

/// Sends every kind of request by one signer, to one process.
async fn each(bed: &Bed, process: Option<&Process>, signer: &Signer) -> Vec<(u16, Answer)> {
    let mut answers = Vec::new();
    for route in ROUTES {
        // What a status change is about is performed by the key that counts; here only its own trust is in question.
        let call = Call::of(route, bed.body(route, &signer.url).await);
        let mut request = call.signed(bed, signer, |_| {}).header("host", bed.authority());
        if let Some(process) = process {
            request.client = process.client();
        }
        answers.push((route.success(), request.send().await));
    }
    answers
}

fn believed(answers: &[(u16, Answer)]) -> bool {
    // A status change of an action that could not be made before is believed too, and then there is nothing to change.
    answers.iter().all(|(success, answer)| answer.status == *success || answer.code() == "ACTION_NOT_FOUND")
}

fn refused(answers: &[(u16, Answer)]) -> bool {
    answers.iter().all(|(_, answer)| answer.status == 401 && answer.code() == "PEER_SIGNATURE_INVALID")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_count_while_they_change_and_the_old_one_ends_in_every_process() {
    let bed = Bed::start("enforced", |instance| instance).await;
    let other = bed.node.instance.start(Role::Api, port::free()).await;
    let (old, new) = (PeerKey::make(), PeerKey::make());
    let (by_old, by_new) = (Signer::new(&bed.one.url, &old), Signer::new(&bed.one.url, &new));
    let processes = [None, Some(&other)];

    for (keys, old_counts, new_counts) in
        [(vec![&old], true, false), (vec![&old, &new], true, true), (vec![&new], false, true)]
    {
        give_keys(&bed, &keys).await;
        for process in processes {
            for (signer, counts) in [(&by_old, old_counts), (&by_new, new_counts)] {
                eventually("the process decides by the keys in force", SOON, || async {
                    let answers = each(&bed, process, signer).await;
                    let right = if counts { believed(&answers) } else { refused(&answers) };
                    check(right, format!("{answers:?}"))
                })
                .await;
            }
        }
    }

    // An instance that has left the contract has no keys and no word.
    refetch(&bed, |document| {
        let entries = document["instances"].as_array_mut().expect("instances");
        entries.retain(|entry| entry["instance_url"] != json!(bed.one.url));
    })
    .await;
    assert!(refused(&each(&bed, None, &by_new).await));
}
