//! What happens to a page when instances fail: it comes in time, names them, and is not kept.

use std::time::{Duration, Instant};

use dpg_tests::network::{STUDENT, TUTOR};
use dpg_tests::wait::check;
use dpg_tests::{Contract, Fault, Instance, Node, Proxy, Role, TestDatabase, eventually, port};
use serde_json::json;

use super::{COUNT, FETCH, SOON, among, holding, ids, is_whole, make, missing, page, several_at};

/// Issue 3, must hold 3.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_comes_without_those_who_refuse_or_hang_and_names_them() {
    let ports: Vec<u16> = (0..3).map(|_| port::free()).collect();
    let (refusing, hanging) = (Proxy::start(ports[1]).await, Proxy::start(ports[2]).await);
    let nodes = several_at(&ports, &[], &[(1, &refusing.url()), (2, &hanging.url())]).await;
    let mut all = Vec::new();
    for (_, user) in &nodes {
        all.push(make(user, "Somebody").await);
    }
    let client = nodes[0].0.process.client();
    let whole = page(&client, STUDENT, "limit=50").await;
    assert!(is_whole(&whole) && ids(&whole) == all, "{whole}");

    refusing.set(Fault::Refuse).await;
    hanging.set(Fault::Hang).await;
    let named = vec![(refusing.url(), "unreachable".to_owned()), (hanging.url(), "timeout".to_owned())];
    // Other filters than before, so that no count is kept. The last of these pages no longer waits for anybody.
    for _ in 0..4 {
        let asked = Instant::now();
        let partial = page(&client, STUDENT, "limit=50&item_type=profile_1.0").await;
        assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
        assert_eq!(ids(&partial), all[..1], "{partial}");
        assert_eq!(partial.body["meta"]["total"], json!(1), "{partial}");
        assert!(!is_whole(&partial));
        assert_eq!(missing(&partial), named, "{partial}");
        assert!(!partial.body["meta"]["next_cursor"].is_null(), "they keep their place: {partial}");
    }
    refusing.set(Fault::Pass).await;
    hanging.set(Fault::Pass).await;
    eventually("the page is whole again", SOON, || async {
        let page = page(&client, STUDENT, "limit=50&item_type=profile_1.0").await;
        check(is_whole(&page) && ids(&page) == all, &page)
    })
    .await;
}

/// A peer that keeps silent is not waited for by every page, and is listed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_skipped_for_a_while() {
    let (shop, shop_ids) = holding(STUDENT, 2).await;
    let line = Proxy::start(shop.url().rsplit(':').next().expect("a port").parse().expect("a port")).await;
    // The shop's rows carry its own URL, so the line is registered beside it.
    let node = among(&[Some(&shop.url()), Some(&line.url())], |instance| instance.set("PEER_TIMEOUT_MS", "300")).await;
    let client = node.process.client();
    line.set(Fault::Hang).await;
    eventually("a page that does not call the silent peer", SOON, || async {
        let before = line.accepted();
        let partial = page(&client, STUDENT, "limit=50").await;
        assert_eq!(missing(&partial), [(line.url(), "timeout".to_owned())], "{partial}");
        assert_eq!(ids(&partial), shop_ids, "{partial}");
        check(line.accepted() == before, line.accepted())
    })
    .await;
    line.set(Fault::Pass).await;
    eventually("it is asked again", SOON, || async {
        let page = page(&client, STUDENT, "limit=50").await;
        check(is_whole(&page), &page)
    })
    .await;
}

/// CONTRACT 6 step 10: a partial page is not kept, the counts of the healthy are.
#[tokio::test(flavor = "multi_thread")]
async fn the_counts_of_healthy_peers_are_kept() {
    let (shop, shop_ids) = holding(TUTOR, 3).await;
    let (own, nobody) = (port::free(), port::url(port::free()));
    let contract = Contract::new().instance(TUTOR, &nobody).instance(TUTOR, &shop.url());
    let contract = contract.instance(STUDENT, &port::url(own));
    let instance = Instance::new("healthy", &[STUDENT], &port::url(own), TestDatabase::create().await, &contract);
    let node = Node::of(instance, own).await;
    for pages in 1..=4 {
        let partial = page(&node.process.client(), TUTOR, "limit=2").await;
        assert_eq!(missing(&partial), [(nobody.clone(), "unreachable".to_owned())]);
        assert_eq!(ids(&partial), shop_ids[..2]);
        assert!(!is_whole(&partial));
        assert_eq!((shop.received(COUNT).len(), shop.received(FETCH).len()), (1, pages), "{partial}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_url_for_a_pair_that_we_do_not_serve_is_named() {
    let (shop, shop_ids) = holding(TUTOR, 2).await;
    let node = among(&[None], |instance| instance).await;
    let url = node.instance.url.clone();
    let contract = Contract::new().instance(STUDENT, &url).instance(TUTOR, &url).instance(TUTOR, &shop.url());
    node.instance.write_contract(&contract);
    let other = node.instance.start(Role::Api, port::free()).await;
    let partial = page(&other.client(), TUTOR, "").await;
    assert_eq!(missing(&partial), [(url, "not_served".to_owned())], "{partial}");
    assert_eq!(ids(&partial), shop_ids);
    assert!(!is_whole(&partial));
}
