//! Network pages (CONTRACT 6): what several instances hold of a domain, whatever some of them do.

mod garbage;
mod local;
mod pages;
mod partial;
mod walks;

use dpg_tests::log::SOON;
use dpg_tests::network::{NETWORK, PROFILE, STUDENT, student_state};
use dpg_tests::peer::{Peer, Received, Reply};
use dpg_tests::{Answer, Client, Contract, Instance, Node, TestDatabase, User, port};
use serde_json::{Value, json};
use uuid::Uuid;

const COUNT: &str = "/api/v1/network/item/count_local";
const FETCH: &str = "/api/v1/network/item/fetch_local";

/// A network page of a domain, as anybody asks for it.
async fn page(client: &Client, domain: &str, query: &str) -> Answer {
    let path = format!("/api/v1/network/item/fetch?item_network={NETWORK}&item_domain={domain}&{query}");
    client.get(&path).send().await.expect(200)
}

/// The ids of a page's items.
fn ids(page: &Answer) -> Vec<String> {
    let items = page.body["items"].as_array().expect("items");
    items.iter().map(|item| item["item_id"].as_str().expect("an id").to_owned()).collect()
}

/// What the page says is missing: instance and reason.
fn missing(page: &Answer) -> Vec<(String, String)> {
    let list = page.body["meta"]["unavailable_instances"].as_array().expect("a list");
    let text = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    list.iter().map(|entry| (text(entry, "instance_url"), text(entry, "reason"))).collect()
}

/// Whether the page is whole, by all its signs.
fn is_whole(page: &Answer) -> bool {
    let meta = &page.body["meta"];
    let whole = meta["partial"] == json!(false);
    assert_eq!(whole, missing(page).is_empty(), "{page}");
    assert_eq!(whole, page.header("x-network-partial").is_none(), "{page}");
    assert!(whole || page.header("x-cache") == Some("bypass"), "a partial page is not kept: {page}");
    whole
}

/// An item as a peer of another make holds it.
fn item_at(url: &str, domain: &str, name: &str) -> Value {
    json!({
        "item_network": NETWORK, "item_domain": domain, "item_type": PROFILE, "item_id": Uuid::new_v4(),
        "item_instance_url": url, "item_schema_url": format!("{url}/schema"), "item_state": {"name": name},
        "item_latitude": null, "item_longitude": null, "created_by": "somebody",
        "created_at": "2026-11-21T01:53:13.435Z", "updated_at": "2026-11-21T01:53:13.435Z"
    })
}

/// Answers as a peer that holds these rows and knows no cursors, and of all filters only the id.
fn shelf(rows: &[Value], request: &Received) -> Reply {
    let wanted = &request.body["item_id"];
    let rows: Vec<&Value> = rows.iter().filter(|row| wanted.is_null() || row["item_id"] == *wanted).collect();
    if request.line.contains(COUNT) {
        return Reply::json(200, &json!({"count": rows.len()}));
    }
    let number = |key: &str| usize::try_from(request.body[key].as_u64().expect("a JSON number")).expect("a size");
    let (offset, limit) = (number("offset"), number("limit"));
    let items: Vec<&&Value> = rows.iter().skip(offset).take(limit).collect();
    Reply::json(200, &json!({"meta": {"total": rows.len(), "limit": limit, "offset": offset}, "items": items}))
}

/// A peer of another make that holds `count` rows of a domain, and their ids.
async fn holding(domain: &'static str, count: usize) -> (Peer, Vec<String>) {
    let peer = Peer::start(|_| Reply::json(404, &json!({}))).await;
    let rows: Vec<Value> = (0..count).map(|n| item_at(&peer.url(), domain, &format!("Row {n}"))).collect();
    let ids = rows.iter().map(|row| row["item_id"].as_str().expect("an id").to_owned()).collect();
    peer.answer(move |request| shelf(&rows, request));
    (peer, ids)
}

/// Writes wait until they show, however slow the machine is.
fn patient(instance: Instance) -> Instance {
    instance.set("READ_YOUR_WRITES_TIMEOUT_MS", "20000")
}

/// An instance of students among others, in this order; `None` is its own place.
async fn among(others: &[Option<&str>], settings: impl FnOnce(Instance) -> Instance) -> Node {
    let port = port::free();
    let own = port::url(port);
    let urls = others.iter().map(|url| url.unwrap_or(&own));
    let contract = urls.fold(Contract::new(), |contract, url| contract.instance(STUDENT, url));
    let instance = Instance::new("among", &[STUDENT], &own, TestDatabase::create().await, &contract);
    Node::of(settings(patient(instance)), port).await
}

/// Real instances that all serve students, in document order, each with a person.
async fn several(count: usize, also: &[&str], lines: &[(usize, &str)]) -> Vec<(Node, User)> {
    let ports: Vec<u16> = (0..count).map(|_| port::free()).collect();
    several_at(&ports, also, lines).await
}

/// As [`several`], on given ports; `lines` are the URLs under which some of them are registered instead.
async fn several_at(ports: &[u16], also: &[&str], lines: &[(usize, &str)]) -> Vec<(Node, User)> {
    let url = |at: usize| {
        let line = lines.iter().find(|(of, _)| *of == at);
        line.map_or_else(|| port::url(ports[at]), |(_, url)| (*url).to_owned())
    };
    let urls: Vec<String> = (0..ports.len()).map(url).collect();
    let all = urls.iter().map(String::as_str).chain(also.iter().copied());
    let contract = all.fold(Contract::new(), |contract, url| contract.instance(STUDENT, url));
    let mut nodes = Vec::new();
    for (at, (port, url)) in ports.iter().zip(&urls).enumerate() {
        let name = format!("several{at}");
        let instance = Instance::new(&name, &[STUDENT], url, TestDatabase::create().await, &contract);
        let node = Node::of(patient(instance).set("PEER_TIMEOUT_MS", "2000"), *port).await;
        let user = node.sign_up("asha").await;
        nodes.push((node, user));
    }
    nodes
}

/// Makes a student's item and gives its id.
async fn make(user: &User, name: &str) -> String {
    user.create(STUDENT, &student_state(name, "hidden")).send().await.expect(201).text_at("item_id")
}
