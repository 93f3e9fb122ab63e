//! What counts as contact (CONTRACT 5.5): whatever a peer proves to have sent, reads and questions about itself included,
//! ends the wait of the lanes to it. A word in its name that nobody has proved doesn't.

use dpg_tests::log::SOON;
use dpg_tests::network::NETWORK;
use dpg_tests::signer::Unsigned;
use dpg_tests::wait::check;
use dpg_tests::{Answer, eventually};

use super::{Bed, Call, ROUTES, Signer};

const STATUS: &str = "/api/v1/peers/self/status";

/// As lanes are keyed.
fn destination(signer: &Signer) -> String {
    signer.url.replace("127.0.0.1", "localhost")
}

/// A lane to a peer that has refused us, with an hour to wait.
async fn refused(bed: &Bed, signer: &Signer) {
    let client = bed.node.instance.database.client().await;
    let sql = "insert into lanes (network, destination, state, failures, next_attempt_at)
               values ($1, $2, 'refused', 9, now() + interval '1 hour')
               on conflict (network, destination) do update
                  set state = excluded.state, next_attempt_at = excluded.next_attempt_at, nudges = 0,
                      lease_holder = null, lease_until = null";
    client.execute(sql, &[&NETWORK, &destination(signer)]).await.expect("a lane");
}

async fn waits(bed: &Bed, signer: &Signer) -> bool {
    let client = bed.node.instance.database.client().await;
    let sql = "select nudges = 0 and next_attempt_at is not null from lanes where destination = $1";
    client.query_one(sql, &[&destination(signer)]).await.expect("the lane").get(0)
}

async fn ask(bed: &Bed, signer: &Signer, claimed: &Signer) -> Answer {
    let request = Unsigned { method: "GET", path: STATUS, key: None, body: b"" };
    let mut terms = signer.terms(bed.authority(), &request);
    terms.keyid = claimed.url.clone();
    let headers = signer.sign(&request, &terms);
    let request = bed.client().get(STATUS);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_peer_signs_is_contact_and_what_others_sign_in_its_name_is_not() {
    let bed = Bed::start("permissive", |instance| instance).await;
    let (one, two) = (&bed.one, &bed.two);
    refused(&bed, two).await;
    for route in ROUTES.into_iter().map(Some).chain([None]) {
        let (forged, believed, success) = match route {
            Some(route) => {
                let body = bed.body(route, &one.url).await;
                let in_its_name = body.to_string().replace(&one.url, &two.url).parse().expect("JSON");
                let forged = Call::of(route, in_its_name).signed(&bed, one, |terms| terms.keyid = two.url.clone());
                refused(&bed, one).await;
                let believed = Call::of(route, body).signed(&bed, one, |_| {});
                (forged.send().await, believed.send().await, route.success())
            }
            None => {
                refused(&bed, one).await;
                (ask(&bed, one, two).await, ask(&bed, one, one).await, 200)
            }
        };
        forged.expect_error(401, "PEER_SIGNATURE_INVALID");
        let _answer = believed.expect(success);
        eventually("the wait is over", SOON, || async { check(!waits(&bed, one).await, format!("{route:?}")) }).await;
        assert!(waits(&bed, two).await, "{route:?}: a forged word ended a wait");
    }
}
