//! Whole pages: order, totals, caching, coalescing.

use std::collections::BTreeSet;

use dpg_tests::network::{NETWORK, STUDENT, TUTOR};
use dpg_tests::peer::{Peer, Reply};
use dpg_tests::wait::check;
use dpg_tests::{Answer, Contract, Instance, Node, TestDatabase, eventually, port};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use super::{COUNT, FETCH, SOON, among, holding, ids, is_whole, item_at, make, page, patient, several};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_the_rows_of_all_instances_in_document_order() {
    let (shop, shop_ids) = holding(STUDENT, 4).await;
    let nodes = several(2, &[&shop.url()], &[]).await;
    let [(first, asha), (second, bina)] = nodes.as_slice() else { unreachable!() };
    let mut expected = [vec![], vec![]];
    for n in 0..3 {
        expected[0].insert(0, make(asha, &format!("First {n}")).await);
        expected[1].insert(0, make(bina, &format!("Second {n}")).await);
    }
    let all: Vec<String> = expected.into_iter().flatten().chain(shop_ids).collect();
    let client = first.process.client();
    // The first count of a peer may have been taken before its items were made.
    eventually("every instance is on the page", SOON, || async {
        let whole = page(&client, STUDENT, "limit=100").await;
        check(is_whole(&whole) && ids(&whole) == all, &whole)
    })
    .await;
    for (offset, limit) in [(0, 1), (2, 3), (3, 3), (5, 100), (6, 2), (9, 5), (10, 5), (1_000_000, 1)] {
        let cut = page(&client, STUDENT, &format!("offset={offset}&limit={limit}")).await;
        let end = (offset + limit).min(all.len());
        assert_eq!(ids(&cut), all[offset.min(end)..end], "{cut}");
        assert_eq!(cut.body["meta"]["total"], json!(all.len()), "{cut}");
        assert_eq!(cut.body["meta"]["offset"], json!(offset), "{cut}");
        assert_eq!(cut.body["meta"]["next_cursor"].is_null(), end == all.len(), "{cut}");
    }
    let third = page(&client, STUDENT, "page=3&limit=2").await;
    assert_eq!(ids(&third), all[4..6], "{third}");
    let whole = page(&second.process.client(), STUDENT, "limit=100").await;
    assert!(!whole.text.contains("hidden") && !whole.text.contains("item_private_state"), "{whole}");
    for item in whole.body["items"].as_array().expect("items") {
        let keys: BTreeSet<_> = item.as_object().expect("an item").keys().map(String::as_str).collect();
        let item_keys = item_at("x", STUDENT, "x");
        assert_eq!(keys, item_keys.as_object().expect("an item").keys().map(String::as_str).collect(), "{item}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_kept_and_a_write_here_shows_on_the_next() {
    let (shop, _) = holding(TUTOR, 2).await;
    let own = port::free();
    let contract = Contract::new().instance(TUTOR, &port::url(own)).instance(TUTOR, &shop.url());
    let instance = Instance::new("keeps", &[TUTOR], &port::url(own), TestDatabase::create().await, &contract);
    let node = Node::of(patient(instance), own).await;
    let ravi = node.sign_up("ravi").await;
    let client = node.process.client();
    let item = ravi.create_tutor("Ravi").await;
    let made = page(&client, TUTOR, "limit=5").await;
    assert_eq!((made.header("x-cache"), ids(&made).len()), (Some("miss"), 3), "{made}");
    let again = page(&client, TUTOR, "limit=5").await;
    assert_eq!((again.header("x-cache"), &again.text), (Some("hit"), &made.text));
    let same = page(&client, TUTOR, "cache_ttl_seconds=1&limit=5&offset=").await;
    assert_eq!(same.header("x-cache"), Some("hit"), "a shorter time than the domain's is no other page: {same}");
    let capped = page(&client, TUTOR, "cache_ttl_seconds=999999999&limit=5").await;
    assert_eq!(capped.header("x-cache"), Some("miss"), "{capped}");
    let also_capped = page(&client, TUTOR, "cache_ttl_seconds=3600&limit=5").await;
    assert_eq!(also_capped.header("x-cache"), Some("hit"), "beyond the cap all times are the cap: {also_capped}");

    // Each kind of write, and the very next page.
    let id = item["item_id"].as_str().expect("an id");
    let second = ravi.create_tutor("Second").await;
    let next = page(&client, TUTOR, "limit=5").await;
    assert_eq!((next.header("x-cache"), next.body["meta"]["total"].clone()), (Some("miss"), json!(4)));
    assert_eq!(ids(&next)[0], second["item_id"].as_str().expect("an id"));
    let patch = json!({"item_state": {"name": "Renamed", "subject": "art"}});
    let patched = ravi.patch(&format!("/api/v1/item/{id}")).json(&patch).send().await.expect(200);
    assert_eq!(page(&client, TUTOR, "limit=5").await.body["items"][1]["item_state"]["name"], json!("Renamed"));
    let single = page(&client, TUTOR, &format!("item_id={id}")).await;
    assert_eq!(single.header("etag"), patched.header("etag"), "{single}");
    let kept = page(&client, TUTOR, &format!("item_id={id}")).await;
    assert_eq!((kept.header("x-cache"), kept.header("etag")), (Some("hit"), patched.header("etag")));
    let _gone = ravi.delete(&format!("/api/v1/item/{id}")).send().await.expect(204);
    assert!(!page(&client, TUTOR, "limit=5").await.text.contains(id));
    // None of that made the peer count again for the same question: it was asked for each time to live and filter.
    assert_eq!(shop.received(COUNT).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_misses_of_a_page_ask_a_peer_once() {
    let (shop, shop_ids) = holding(TUTOR, 5).await;
    let own = port::free();
    let contract = Contract::new().instance(TUTOR, &shop.url()).instance(STUDENT, &port::url(own));
    let instance = Instance::new("once", &[STUDENT], &port::url(own), TestDatabase::create().await, &contract);
    let node = Node::of(instance, own).await;
    let client = node.process.client();
    // The pair is not served here, and nobody has to be signed in.
    let answers = join_all((0..50).map(|_| page(&client, TUTOR, "limit=3"))).await;
    for answer in &answers {
        assert_eq!(ids(answer), shop_ids[..3], "{answer}");
    }
    assert_eq!(answers.iter().filter(|answer| answer.header("x-cache") == Some("miss")).count(), 1);
    assert_eq!((shop.received(COUNT).len(), shop.received(FETCH).len()), (1, 1));
    // Another page of the same filters needs no other count.
    let next = page(&client, TUTOR, "limit=3&offset=3").await;
    assert_eq!(ids(&next), shop_ids[3..]);
    assert_eq!((shop.received(COUNT).len(), shop.received(FETCH).len()), (1, 2));
}

/// Trap 28, and what goes to peers: exactly the documented keys, absent ones left out.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_under_two_spellings_is_asked_and_counted_once() {
    let (shop, shop_ids) = holding(STUDENT, 3).await;
    let alias = shop.url().replace("127.0.0.1", "LOCALHOST");
    let node = among(&[Some(&format!("{}/", shop.url())), None, Some(&alias)], |instance| instance).await;
    let client = node.process.client();
    let asha = node.sign_up("asha").await;
    let own = make(&asha, "Asha").await;
    let whole = page(&client, STUDENT, "item_state[city]=Pune&item_state[years]=5&item_type=profile_1.0").await;
    assert!(is_whole(&whole));
    assert_eq!(whole.body["meta"]["total"], json!(4));
    assert_eq!(ids(&whole), [shop_ids.as_slice(), std::slice::from_ref(&own)].concat());
    let asked = shop.received("/api/");
    assert_eq!(asked.len(), 2, "{asked:?}");
    let filters = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": "profile_1.0",
                         "item_state": {"city": "Pune", "years": "5"}});
    assert_eq!(asked[0].body, filters);
    let mut fetch = filters.clone();
    (fetch["limit"], fetch["offset"]) = (json!(3), json!(0));
    assert_eq!(asked[1].body, fetch);

    // An instance's URL narrows the page to that instance, by whichever spelling.
    for (url, expected) in [(&alias, shop_ids.clone()), (&node.instance.url, vec![own])] {
        let narrowed = page(&client, STUDENT, &format!("item_instance_url={url}")).await;
        assert_eq!(ids(&narrowed), expected, "{narrowed}");
    }
    let last = shop.received(FETCH);
    assert_eq!(last[1].body["item_instance_url"], json!(shop.url()), "the peer is asked in its own spelling");
    let nobody = page(&client, STUDENT, "item_instance_url=https://elsewhere.example").await;
    assert_eq!((nobody.body["meta"]["total"].clone(), ids(&nobody).len()), (json!(0), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_asked_for_is_told() {
    let node = among(&[None], |instance| instance).await;
    let client = node.process.client();
    let get = |query: &str| client.get(&format!("/api/v1/network/item/fetch?{query}")).send();
    get("item_network=unknown&item_domain=student").await.expect_error(404, "NETWORK_NOT_FOUND");
    let pair = format!("network={NETWORK}&domain");
    get(&format!("{pair}=unknown")).await.expect_error(403, "UNSERVED_DOMAIN_BINDING");
    let empty = get(&format!("{pair}={TUTOR}")).await.expect(200);
    assert_eq!(empty.body["items"], json!([]), "a domain without instances: {empty}");
    assert!(is_whole(&empty));
    let faulty = [
        "cache_ttl_seconds=0",
        "cache_ttl_seconds=-1",
        "cache_ttl_seconds=x",
        "limit=0",
        "limit=101",
        "offset=-1",
        "cursor=x",
        "cursor=x&offset=0",
        "page=0",
        "item_latitude=1",
        "item_state={}",
    ];
    for query in faulty {
        get(&format!("{pair}={STUDENT}&{query}")).await.expect_error(400, "VALIDATION_ERROR");
    }
    let served = get(&format!("{pair}={STUDENT}&limit=&cache_ttl_seconds=&item_latitude=&radius_meters=5")).await;
    assert_eq!(served.expect(200).body["meta"]["limit"], json!(20), "empty numbers are absent");
    for header in ["unknown:1", "x", "-1"] {
        let path = format!("/api/v1/network/item/fetch?{pair}={STUDENT}");
        client.get(&path).header("dpg-min-position", header).send().await.expect_error(400, "VALIDATION_ERROR");
    }
}

/// More pages than the process lets fan out at once are told to come again; no peer has to bear more than 32 calls.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_fan_outs_are_refused() {
    let peer = Peer::start(|_| Reply::never()).await;
    let node = among(&[Some(&peer.url())], |instance| instance.set("PEER_TIMEOUT_MS", "10000")).await;
    let client = node.process.client();
    let pair = format!("/api/v1/network/item/fetch?item_network={NETWORK}&item_domain={STUDENT}");
    let mut asking: FuturesUnordered<_> =
        (0..80).map(|n| client.get(&format!("{pair}&item_state[n]={n}")).send()).collect();
    // Whoever is let in waits for the peer, so the first answers are refusals.
    let refused = asking.next().await.expect("an answer");
    refused.expect_error(503, "SERVICE_UNAVAILABLE");
    assert!(refused.header("retry-after").is_some(), "{refused}");
    assert!(peer.received(COUNT).len() <= 32, "{} calls at once", peer.received(COUNT).len());
    let answers: Vec<Answer> = asking.collect().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(served >= 64, "{served} were let in");
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)), "{answers:?}");
}
