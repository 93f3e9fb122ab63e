//! Peers that answer something else than they should: each costs its own rows and is named for what it did.

use dpg_tests::network::STUDENT;
use dpg_tests::peer::{Peer, Received, Reply};
use dpg_tests::port;
use serde_json::{Value, json};

use super::{COUNT, FETCH, among, ids, is_whole, item_at, missing, page, shelf};

type Script = Box<dyn Fn(&Received) -> Reply + Send + Sync>;

/// Counts one row, and answers this when it is asked for it.
fn fetching(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Script {
    Box::new(move |request| match request.line.contains(COUNT) {
        true => Reply::json(200, &json!({"count": 1})),
        false => answer(request),
    })
}

fn always(reply: Reply) -> Script {
    Box::new(move |_| reply.clone())
}

fn error(status: u16, code: &str) -> Reply {
    Reply::json(status, &json!({"error": code, "message": "no"}))
}

fn garbage(elsewhere: &str) -> Vec<(&'static str, Script)> {
    let redirect =
        Reply { status: 307, headers: vec![("location", format!("{elsewhere}{COUNT}"))], body: String::new() };
    let huge = format!(r#"{{"items":[],"more":"{}"}}"#, "x".repeat(17 * 1024 * 1024));
    let too_many = |request: &Received| {
        let url = format!("http://{}", request.headers.iter().find(|(name, _)| name == "host").expect("a host").1);
        let rows: Vec<Value> = (0..3).map(|_| item_at(&url, STUDENT, "One")).collect();
        Reply::json(200, &json!({"items": rows}))
    };
    vec![
        ("bad_response", always(Reply::html(200, "<html>Welcome</html>"))),
        ("bad_response", always(Reply::json(200, &json!({"count": "5"})))),
        ("bad_response", always(Reply::json(200, &json!({"count": -1, "items": []})))),
        ("bad_response", always(Reply::json(200, &json!(null)))),
        ("bad_response", fetching(|_| Reply::html(200, "<html>Welcome</html>"))),
        ("bad_response", fetching(|_| Reply::json(200, &json!({"items": {"a": 1}})))),
        ("bad_response", fetching(move |_| Reply { status: 200, headers: vec![], body: huge.clone() })),
        ("bad_response", fetching(|_| Reply { status: 200, headers: vec![], body: r#"{"items":[{"a":"#.to_owned() })),
        ("bad_response", fetching(too_many)),
        ("http_error", always(redirect.clone())),
        ("http_error", fetching(move |_| redirect.clone())),
        ("refused", always(error(401, "PEER_SIGNATURE_REQUIRED"))),
        ("refused", fetching(|_| error(403, "PEER_NOT_REGISTERED"))),
        ("not_served", always(error(403, "UNSERVED_DOMAIN_BINDING"))),
        ("http_error", always(error(500, "INTERNAL_SERVER_ERROR"))),
        ("http_error", fetching(|_| error(404, "NOT_FOUND"))),
        ("timeout", fetching(|_| Reply::never())),
    ]
}

/// Traps 25 and 26.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_garbage_is_named_and_costs_nobody_else() {
    let elsewhere = Peer::start(|request| shelf(&[], request)).await;
    let mut peers = Vec::new();
    let mut named = Vec::new();
    for (reason, script) in garbage(&elsewhere.url()) {
        let peer = Peer::start(move |request| script(request)).await;
        named.push((peer.url(), reason.to_owned()));
        peers.push(peer);
    }
    let nobody = port::url(port::free());
    named.push((nobody.clone(), "unreachable".to_owned()));
    let (shop, shop_ids) = super::holding(STUDENT, 2).await;
    let mut others: Vec<Option<&str>> = named.iter().map(|(url, _)| Some(url.as_str())).collect();
    let shop_url = shop.url();
    others.extend([Some(shop_url.as_str()), None]);
    let node = among(&others, |instance| instance.set("PEER_TIMEOUT_MS", "4000")).await;
    let asha = node.sign_up("asha").await;
    let own = super::make(&asha, "Asha").await;

    let partial = page(&node.process.client(), STUDENT, "limit=100").await;
    assert_eq!(missing(&partial), named, "{partial}");
    assert_eq!(ids(&partial), [shop_ids.as_slice(), &[own]].concat(), "{partial}");
    assert_eq!(partial.body["meta"]["total"], json!(3), "who fails gives no count: {partial}");
    assert!(!is_whole(&partial));
    assert!(elsewhere.received("").is_empty(), "a redirect was followed");
}

/// Trap 21, and step 9: rows are checked one by one.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_checked_one_by_one() {
    let (liar, smuggler) = (Peer::start(|_| Reply::never()).await, Peer::start(|_| Reply::never()).await);
    let good = item_at(&liar.url(), STUDENT, "Good");
    let mut malformed = item_at(&liar.url(), STUDENT, "Malformed");
    malformed.as_object_mut().expect("a row").remove("created_by");
    let rows = [malformed, good.clone()];
    liar.answer(move |request| shelf(&rows, request));

    let mut smuggled = item_at(&smuggler.url(), STUDENT, "Smuggled");
    smuggled["item_private_state"] = json!({"phone": "marked-private"});
    smuggled["version"] = json!("marked-unknown");
    let foreign = item_at("https://elsewhere.example", STUDENT, "marked-foreign");
    let ours_they_say = item_at("http://127.0.0.1:1", STUDENT, "marked-foreign");
    let rows = [foreign, smuggled.clone(), ours_they_say];
    smuggler.answer(move |request| shelf(&rows, request));

    let node = among(&[Some(&liar.url()), Some(&smuggler.url()), None], |instance| instance).await;
    let client = node.process.client();
    let checked = page(&client, STUDENT, "").await;
    assert_eq!(missing(&checked), [(liar.url(), "bad_response".to_owned())], "{checked}");
    assert!(!is_whole(&checked));
    assert_eq!(ids(&checked), [good["item_id"].as_str().expect("an id"), smuggled["item_id"].as_str().expect("an id")]);
    assert!(!checked.text.contains("marked"), "{checked}");
    assert!(!node.instance.logs().contains("marked-private"));
    // A foreign row alone is no fault: existing peers let owners write that field.
    let narrowed = page(&client, STUDENT, &format!("item_instance_url={}", smuggler.url())).await;
    assert!(is_whole(&narrowed) && ids(&narrowed).len() == 1, "{narrowed}");
    assert_eq!(smuggler.received(FETCH).len(), 2);
}
