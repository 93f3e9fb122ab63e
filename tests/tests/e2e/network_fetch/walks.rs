//! Walks by cursor over several instances, while rows come and go, and while an instance is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use dpg_tests::network::STUDENT;
use dpg_tests::wait::check;
use dpg_tests::{Answer, Client, Fault, Proxy, User, eventually, port};
use serde_json::{Value, json};

use super::{SOON, holding, ids, is_whole, make, page, several, several_at};

/// How often each item was seen, from the first page to the last.
#[derive(Default)]
struct Seen(BTreeMap<String, usize>);

impl Seen {
    fn add(&mut self, page: &Answer) {
        for id in ids(page) {
            *self.0.entry(id).or_default() += 1;
        }
    }

    fn assert_once(&self, all: &BTreeSet<String>) {
        for id in all {
            assert_eq!(self.0.get(id), Some(&1), "{id} was there throughout");
        }
        assert!(self.0.values().all(|times| *times == 1), "nothing is repeated: {:?}", self.0);
    }
}

async fn after(client: &Client, cursor: &Value, limit: usize) -> Answer {
    let cursor = cursor.as_str().expect("a cursor");
    assert!(cursor.len() <= 1024, "{cursor}");
    page(client, STUDENT, &format!("limit={limit}&cursor={cursor}")).await
}

/// Makes and deletes items until told to stop.
async fn churn(user: &User, stop: &AtomicBool) {
    let mut made: Vec<String> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        made.push(make(user, "Passing").await);
        if made.len() > 3 {
            let id = made.remove(0);
            let _gone = user.delete(&format!("/api/v1/item/{id}")).send().await.expect(204);
        }
    }
}

/// Waits until the counts that this instance keeps of its peers are those of now, and gives the first page of a walk.
async fn first_page(client: &Client, total: usize, limit: usize) -> Answer {
    eventually("all are counted", SOON, || async {
        let first = page(client, STUDENT, &format!("limit={limit}")).await;
        check(first.body["meta"]["total"].as_u64() >= Some(total as u64) && is_whole(&first), &first).map(|()| first)
    })
    .await
}

/// Issue 3, must hold 4, over instances: two or three of ours and one that knows no cursors.
async fn walk_under_writes(instances: usize) {
    let (shop, shop_ids) = holding(STUDENT, 11).await;
    let nodes = several(instances, &[&shop.url()], &[]).await;
    let mut throughout: BTreeSet<String> = shop_ids.into_iter().collect();
    for (_, user) in &nodes {
        for n in 0..17 {
            throughout.insert(make(user, &format!("Stays {n}")).await);
        }
    }
    let client = nodes[0].0.process.client();
    let stop = AtomicBool::new(false);
    let walk = async {
        let mut answer = first_page(&client, throughout.len(), 5).await;
        let mut seen = Seen::default();
        let mut pages = 1;
        loop {
            seen.add(&answer);
            assert!(is_whole(&answer), "{answer}");
            assert!(pages == 1 || answer.body["meta"]["offset"] == json!(0), "{answer}");
            let cursor = &answer.body["meta"]["next_cursor"];
            if cursor.is_null() {
                break;
            }
            answer = after(&client, cursor, 5).await;
            pages += 1;
            assert!(pages < 500, "the walk does not end");
        }
        stop.store(true, Ordering::SeqCst);
        seen.assert_once(&throughout);
    };
    let churning = futures_util::future::join_all(nodes.iter().map(|(_, user)| churn(user, &stop)));
    tokio::join!(walk, churning);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_over_two_instances_misses_and_repeats_nothing() {
    walk_under_writes(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_over_three_instances_misses_and_repeats_nothing() {
    walk_under_writes(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_fails_on_its_turn_keeps_its_place() {
    let ports: Vec<u16> = (0..2).map(|_| port::free()).collect();
    let line = Proxy::start(ports[0]).await;
    let (shop, shop_ids) = holding(STUDENT, 4).await;
    // The one behind the line comes first in the document, and the pages are asked of the second.
    let nodes = several_at(&ports, &[&shop.url()], &[(0, &line.url())]).await;
    let mut all: BTreeSet<String> = shop_ids.into_iter().collect();
    for (_, user) in &nodes {
        for n in 0..7 {
            all.insert(make(user, &format!("Stays {n}")).await);
        }
    }
    let client = nodes[1].0.process.client();
    let first = first_page(&client, all.len(), 4).await;
    let mut seen = Seen::default();
    seen.add(&first);
    assert_eq!(first.body["meta"]["total"], json!(18));

    line.set(Fault::Refuse).await;
    let mut cursor = first.body["meta"]["next_cursor"].clone();
    // Whoever answers is walked to the end; the page after that has nobody left but the one that is away.
    loop {
        let answer = after(&client, &cursor, 4).await;
        seen.add(&answer);
        cursor = answer.body["meta"]["next_cursor"].clone();
        if ids(&answer).is_empty() && !is_whole(&answer) {
            break;
        }
    }
    assert_eq!(seen.0.len(), 4 + 7 + 4, "the others' rows");
    line.set(Fault::Pass).await;
    while !cursor.is_null() {
        let answer = eventually("it is back", SOON, || async {
            let answer = after(&client, &cursor, 4).await;
            check(is_whole(&answer), &answer).map(|()| answer)
        })
        .await;
        seen.add(&answer);
        cursor = answer.body["meta"]["next_cursor"].clone();
    }
    seen.assert_once(&all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_belongs_to_its_filters() {
    let nodes = several(1, &[], &[]).await;
    let (node, user) = &nodes[0];
    for n in 0..3 {
        make(user, &format!("Stays {n}")).await;
    }
    let client = node.process.client();
    let first = page(&client, STUDENT, "limit=1").await;
    let cursor = first.text_at_meta();
    let next = page(&client, STUDENT, &format!("limit=2&cursor={cursor}")).await;
    assert_eq!((ids(&next).len(), next.body["meta"]["next_cursor"].clone()), (2, Value::Null), "{next}");
    let path = format!("/api/v1/network/item/fetch?network={}&domain={STUDENT}", dpg_tests::network::NETWORK);
    for query in [format!("cursor={cursor}&item_type=other"), format!("cursor={cursor}x"), "cursor=eyJ9".to_owned()] {
        let refused = client.get(&format!("{path}&{query}")).send().await;
        refused.expect_error(400, "VALIDATION_ERROR");
        assert_eq!(refused.body["details"][0]["path"], json!("/cursor"), "{refused}");
    }
}

trait Meta {
    fn text_at_meta(&self) -> String;
}

impl Meta for Answer {
    fn text_at_meta(&self) -> String {
        self.body["meta"]["next_cursor"].as_str().expect("a cursor").to_owned()
    }
}
