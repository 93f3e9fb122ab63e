//! A signed write counts once for the whole instance, and only there (CONTRACT 2.5).

use dpg_tests::{Role, port};
use serde_json::json;

use super::{Bed, Call, ROUTES, Route};

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_write_counts_once_over_all_processes_and_a_read_as_often_as_it_comes() {
    let mut bed = Bed::start("permissive", |instance| instance).await;
    let other = bed.node.instance.start(Role::Api, port::free()).await;
    for route in ROUTES {
        let call = Call::of(route, bed.body(route, &bed.one.url).await);
        let here = call.signed(&bed, &bed.one, |_| {});
        // Both processes stand behind one address.
        let mut there = here.clone().header("host", bed.authority());
        there.client = other.client();
        let _first = here.send().await.expect(route.success());
        for again in [&here, &there] {
            let answer = again.send().await;
            if route.is_read() {
                let _same = answer.expect(route.success());
            } else {
                answer.expect_error(401, "PEER_SIGNATURE_INVALID");
            }
        }
    }

    // Two processes at once, and after a restart.
    let performs: Vec<_> = std::iter::repeat_with(|| {
        let call = Call::of(Route::Perform, bed.perform(&bed.one.url));
        let here = call.signed(&bed, &bed.one, |_| {}).header("host", bed.authority());
        let mut there = here.clone();
        there.client = other.client();
        [here, there]
    })
    .take(10)
    .collect();
    for [here, there] in &performs {
        let (here, there) = tokio::join!(here.send(), there.send());
        let mut statuses = [here.status, there.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 401], "{here} {there}");
    }
    bed.node.process.kill();
    bed.node.process.restart().await;
    for [here, _] in &performs {
        here.send().await.expect_error(401, "PEER_SIGNATURE_INVALID");
    }
    let seen = bed.ravi.get("/api/v1/action/fetch?limit=100").send().await.expect(200);
    assert_eq!(seen.body["meta"]["total"], json!(2 + performs.len()), "{seen}");
    bed.node.verify().await;
}

/// A nonce is its signer's: two peers may have the same.
#[tokio::test(flavor = "multi_thread")]
async fn nonces_of_two_signers_are_not_mixed_up() {
    let bed = Bed::start("permissive", |instance| instance).await;
    for signer in [&bed.one, &bed.two] {
        let call = Call::of(Route::Perform, bed.perform(&signer.url));
        let _done = call.signed(&bed, signer, |terms| terms.nonce = "the same".to_owned()).send().await.expect(201);
    }
    // Nor does another spelling of its URL make another signer.
    for keyid in [bed.one.url.clone(), bed.one.url.replace("127.0.0.1", "localhost")] {
        let again = Call::of(Route::Perform, bed.perform(&bed.one.url));
        let again = again.signed(&bed, &bed.one, |terms| {
            terms.nonce = "the same".to_owned();
            terms.keyid = keyid;
        });
        again.send().await.expect_error(401, "PEER_SIGNATURE_INVALID");
    }
}

/// A request for another instance does not count here, whatever the headers say about how it came.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_proxy_says_by_which_name_we_were_called() {
    const ELSEWHERE: &str = "b.example.org";
    for (trusted, block) in [(true, "127.0.0.0/8"), (false, "10.0.0.0/8")] {
        let bed = Bed::start("enforced", |instance| instance.set("TRUSTED_PROXIES", block)).await;
        for route in ROUTES {
            // Called by another name, whose signature is for that name.
            let call = Call::of(route, bed.body(route, &bed.one.url).await);
            let foreign = call.signed(&bed, &bed.one, |terms| terms.authority = ELSEWHERE.to_owned());
            foreign.clone().header("host", ELSEWHERE).send().await.expect_error(401, "PEER_SIGNATURE_INVALID");
            let foreign = foreign.header("x-forwarded-host", ELSEWHERE);
            foreign.send().await.expect_error(401, "PEER_SIGNATURE_INVALID");

            // Behind a proxy that passes on the name by which it was called.
            let ours = call.signed(&bed, &bed.one, |_| {}).header("host", "inside:8080");
            let ours = ours.header("x-forwarded-host", bed.authority());
            let verdict = |believed: bool| if believed { route.success() } else { 401 };
            let _answer = ours.send().await.expect(verdict(trusted));
            // A stranger's word about the name is not heard at all.
            let call = Call::of(route, bed.body(route, &bed.one.url).await);
            let misled = call.signed(&bed, &bed.one, |_| {}).header("x-forwarded-host", ELSEWHERE);
            let _answer = misled.send().await.expect(verdict(!trusted));
        }
    }
}
