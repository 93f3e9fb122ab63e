//! Requests made from the document, good ones and spoilt ones, by everybody: no answer is a 5xx that the request did not
//! ask for, and each is one that the document promises. `DPG_FUZZ_SEED` repeats a run, `DPG_FUZZ_ROUNDS` makes it longer.

use std::time::Duration;

use dpg_tests::client::Request;
use dpg_tests::network::{CONNECT, NETWORK, PROFILE, STUDENT, TUTOR, reference};
use dpg_tests::openapi::generate::Generator;
use dpg_tests::openapi::{Document, Operation};
use dpg_tests::{Answer, Client, Contract, Node, port};
use futures_util::StreamExt;
use serde_json::{Value, json};

const OPERATOR: &str = "operator's key";

/// 5xx that a request may ask for: it names another instance, a position to come, a service that is not there.
const ASKED_FOR: &[&str] = &[
    "PROJECTION_BEHIND",
    "TARGET_INSTANCE_UNAVAILABLE",
    "TARGET_INSTANCE_REFUSED",
    "TARGET_INSTANCE_TIMEOUT",
    "CANCEL_UNSUPPORTED_BY_TARGET",
    "MATCH_SCORE_NOT_CONFIGURED",
];

/// Faults of a request that no schema can tell: a cursor of another query, a number beyond the lane's, events that are not
/// in order.
const BEYOND_SCHEMAS: &[&str] = &["cursor", "since_seq", "events"];

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Whoever calls.
struct Callers {
    all: Vec<(&'static str, Client)>,
    /// A session that nobody else uses, for calls that end it.
    leaving: Client,
}

impl Callers {
    async fn of(node: &Node) -> Self {
        let base = node.process.url();
        let (asha, ravi) = (node.sign_up("asha").await, node.sign_up("ravi").await);
        let admin = node.sign_up_admin().await;
        let (user_key, admin_key) = (asha.create_key().await, admin.create_key().await);
        let stranger = Client::anonymous(&base);
        let leaving = node.sign_up("leaving").await;
        Self {
            all: vec![
                ("owner", asha.bearer(&asha.token)),
                ("owner's key", stranger.key(&user_key)),
                ("user", ravi.bearer(&ravi.token)),
                ("admin", admin.bearer(&admin.token)),
                ("admin's key", stranger.key(&admin_key)),
                ("stranger", stranger),
            ],
            leaving: leaving.bearer(&leaving.token),
        }
    }
}

/// One call, ready to go.
struct Call {
    operation: Operation,
    caller: Client,
    /// Path and query.
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Body,
    /// Whether all of it fits the document.
    fits: bool,
}

enum Body {
    None,
    Json(Value),
    Raw(&'static str, Vec<u8>),
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_the_answer_is_a_documented_one() {
    fuzz("permissive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_where_every_peer_is_believed() {
    fuzz("off").await;
}

async fn fuzz(peer_auth: &str) {
    let seed = number("DPG_FUZZ_SEED", u64::from(rand::random::<u32>()));
    let rounds = number("DPG_FUZZ_ROUNDS", 20);
    println!("DPG_FUZZ_SEED={seed} DPG_FUZZ_ROUNDS={rounds}");
    let elsewhere = port::url(port::free());
    // Somebody who is registered without a key, and does not answer.
    let contract = Contract::new().instance(STUDENT, &elsewhere).instance(TUTOR, &elsewhere);
    let node = Node::both_with(contract, |instance| {
        let instance = instance.set("ADMIN_KEY", OPERATOR).set("PEER_AUTH", peer_auth);
        instance.set("READ_YOUR_WRITES_TIMEOUT_MS", "50").set("PEER_TIMEOUT_MS", "500")
    })
    .await;
    let callers = Callers::of(&node).await;
    let document = Document::of(&node.process.client()).await;
    let mut generator = Generator::new(&document, seed);
    know_what_there_is(&mut generator, &callers.all[0].1, &node, &elsewhere).await;

    let mut calls = Vec::new();
    for operation in document.operations() {
        // A run of this one takes its time, and calls wait for each other's.
        let rounds = if operation.id == "refetchSchemas" { 3 } else { rounds };
        calls.extend((0..rounds).map(|round| call(&document, &mut generator, &callers, &operation, round)));
    }
    let document = &document;
    let judged: Vec<Judged> = futures_util::stream::iter(calls)
        .map(|call| async move { judge(document, &call).await })
        .buffer_unordered(8)
        .collect()
        .await;
    print_table(&judged);
    let mut faults: Vec<String> = judged.iter().filter_map(|judged| judged.fault.clone()).collect();
    let found = faults.len();
    // The shortest few of each operation tell enough.
    faults.sort_by_key(|fault| (operation_of(fault).to_owned(), fault.len()));
    let mut shown = std::collections::HashMap::<String, u32>::new();
    faults.retain(|fault| {
        let shown = shown.entry(operation_of(fault).to_owned()).or_default();
        *shown += 1;
        *shown <= 3
    });
    assert!(faults.is_empty(), "seed {seed}: {found} faults\n{}", faults.join("\n"));
    // Else all that was tried is the first check of each route.
    let good = judged.iter().filter(|judged| (200..300).contains(&judged.status)).count();
    assert!(good * 10 > judged.len(), "seed {seed}: only {good} of {} calls were answered well", judged.len());
    node.verify().await;
}

/// What came of a call; status 0 when nothing came.
struct Judged {
    operation: String,
    status: u16,
    fault: Option<String>,
}

/// How each operation was answered, for those who read the log of a run.
fn print_table(judged: &[Judged]) {
    let mut table = std::collections::BTreeMap::<&str, std::collections::BTreeMap<u16, u32>>::new();
    for judged in judged {
        *table.entry(&judged.operation).or_default().entry(judged.status).or_default() += 1;
    }
    for (operation, statuses) in table {
        let statuses: Vec<String> = statuses.iter().map(|(status, times)| format!("{status} x {times}")).collect();
        println!("{operation:24} {}", statuses.join(", "));
    }
}

fn operation_of(fault: &str) -> &str {
    fault.split(':').next().unwrap_or_default()
}

async fn know_what_there_is(generator: &mut Generator<'_>, owner: &Client, node: &Node, elsewhere: &str) {
    let (student, tutor) = (owner.create_student("Asha").await, owner.create_tutor("Asha").await);
    let held = owner.perform(&student, &tutor).send().await.expect(201).body["action_id"].clone();
    let at = |item: &Value, url: &str| {
        let mut reference = reference(item);
        reference["item_instance_url"] = json!(url);
        reference
    };
    for url in [node.instance.url.as_str(), elsewhere] {
        generator.know("source_item", &[at(&student, url)]);
        generator.know("target_item", &[at(&tutor, url)]);
        for member in ["item_instance_url", "origin_instance_domain", "destination", "instance_url"] {
            generator.know(member, &[json!(url)]);
        }
    }
    // Whole bodies, where members have to fit each other.
    generator.know(
        "storeEvent",
        &[json!({
            "origin_instance_domain": elsewhere, "action_type": CONNECT, "action_id": uuid::Uuid::new_v4(),
            "action_status": "accepted", "update_count": 1, "source_item": at(&student, &node.instance.url),
            "target_item": at(&tutor, elsewhere), "event_payload": {"subject": "math", "status": "accepted"},
        })],
    );
    for item in [&student, &tutor] {
        generator.know("item_id", &[item["item_id"].clone()]);
        generator.know("created_by", &[item["created_by"].clone()]);
    }
    // For calls that change or delete an item, so that the others stay.
    for number in 0..10 {
        generator.know("itemId", &[owner.create_student(&format!("Spare {number}")).await["item_id"].clone()]);
    }
    let account = json!({"email": "pw@example.com", "password": "correct horse", "name": "Asha"});
    let _signed_up = owner.post("/api/auth/sign-up/email").json(&account).send().await.expect(200);
    generator.know("email", &[json!("pw@example.com"), json!("asha@example.com"), json!("ravi@example.com")]);
    generator.know("password", &[json!("correct horse"), json!("wrong horse")]);
    let elsewhere_held: Vec<Value> = (0..4).map(|_| json!(uuid::Uuid::new_v4())).collect();
    generator.know("action_id", &[&[held.clone(), held], elsewhere_held.as_slice()].concat());
    for member in ["item_domain", "domain"] {
        generator.know(member, &[json!(STUDENT), json!(TUTOR)]);
    }
    for member in ["item_network", "network"] {
        generator.know(member, &[json!(NETWORK)]);
    }
    for member in ["item_type", "itemType"] {
        generator.know(member, &[json!(PROFILE)]);
    }
    generator.know("action_type", &[json!(CONNECT)]);
    generator.know("action_status", &[json!("accepted"), json!("cancelled"), json!("completed")]);
    generator.know("requirements_snapshot", &[json!({"subject": "math"})]);
    generator.know("event_payload", &[json!({"subject": "math", "room": "7"}), Value::Null]);
    generator.know("otp", &[json!("000000")]);
    generator.know("limit", &[json!(5)]);
}

/// A call of an operation. In one round of three all of it fits; then body, parameters or headers are spoilt.
fn call(
    document: &Document,
    generator: &mut Generator<'_>,
    callers: &Callers,
    operation: &Operation,
    round: u64,
) -> Call {
    let good = round.is_multiple_of(3);
    let spoilt = if good { 9 } else { generator.below(4) };
    let (mut target, fits_target) = target(document, generator, operation, spoilt == 1);
    if spoilt == 2 {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&generator.odd_query());
    }
    let headers = if spoilt == 3 { vec![generator.odd_header()] } else { Vec::new() };
    let (body, fits_body) = body(document, generator, operation, spoilt == 0);
    let ends_session = matches!(operation.id.as_str(), "signOut");
    let caller = match operation.path.contains("/admin/") {
        _ if ends_session => callers.leaving.clone(),
        true if !generator.one_in(4) => callers.all[5].1.clone(),
        _ if generator.one_in(2) => callers.all[0].1.clone(),
        _ => generator.choose(&callers.all.iter().map(|(_, caller)| caller.clone()).collect::<Vec<_>>()),
    };
    let mut call =
        Call { operation: operation.clone(), caller, target, headers, body, fits: good && fits_target && fits_body };
    if operation.path.contains("/admin/") {
        call.headers.push(("x-admin-key", generator.choose(&[OPERATOR, OPERATOR, OPERATOR, "wrong"]).to_owned()));
    }
    call
}

/// Path and query, and whether they fit.
fn target(document: &Document, generator: &mut Generator<'_>, operation: &Operation, spoil: bool) -> (String, bool) {
    let (mut path, mut query, mut fits) = (operation.path.clone(), Vec::new(), true);
    for parameter in operation.described["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().expect("a name");
        let place = parameter["in"].as_str().expect("a place");
        let wanted = parameter["required"] == true || (parameter["deprecated"] != true && generator.one_in(6));
        if place == "header" || !wanted {
            continue;
        }
        let mut value = generator.make(name, &parameter["schema"], 0);
        if spoil && generator.one_in(2) {
            value = generator.odd();
        }
        fits &= document.validator(&parameter["schema"]).is_valid(&value) && !BEYOND_SCHEMAS.contains(&name);
        // Rules between parameters stand in their descriptions.
        fits &= !matches!(name, "offset" | "page" | "item_state" | "item_latitude" | "item_longitude");
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        match place {
            "path" => path = path.replace(&format!("{{{name}}}"), &text.replace('+', "%20")),
            _ => query.push(format!("{name}={text}")),
        }
    }
    (if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }, fits)
}

/// A body, and whether it fits.
fn body(document: &Document, generator: &mut Generator<'_>, operation: &Operation, spoil: bool) -> (Body, bool) {
    let described = &operation.described["requestBody"];
    if described.is_null() {
        return (Body::None, true);
    }
    let schema = &described["content"]["application/json"]["schema"];
    let made = generator.known(&operation.id).or_else(|| generator.valid(schema));
    let fits = made.as_ref().is_some_and(|made| BEYOND_SCHEMAS.iter().all(|name| made.get(name).is_none()));
    let mut value = made.unwrap_or_else(|| described["content"]["application/json"]["example"].clone());
    if !spoil {
        return (Body::Json(value), fits);
    }
    if generator.one_in(5) {
        let (media_type, bytes) = generator.odd_body(&value);
        return (Body::Raw(media_type, bytes), false);
    }
    for _ in 0..=generator.below(2) {
        generator.spoil(&mut value);
    }
    let fits = document.validator(schema).is_valid(&value);
    (Body::Json(value), fits)
}

/// Sends a call and judges its answer.
async fn judge(document: &Document, call: &Call) -> Judged {
    let operation = &call.operation;
    let method = operation.method.parse().expect("a method");
    let mut request: Request = call.caller.request(method, &call.target);
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let request = match &call.body {
        Body::None => request,
        Body::Json(value) => request.json(value),
        Body::Raw(media_type, bytes) => request.raw(media_type, bytes.clone()),
    };
    let judged = |status, fault: Option<String>| Judged {
        operation: operation.id.clone(),
        status,
        fault: fault.map(|fault| tell(call, &fault)),
    };
    match tokio::time::timeout(Duration::from_secs(60), request.try_send()).await {
        Ok(Ok(answer)) => judged(answer.status, fault_of(document, call, &answer)),
        // The server may close before it has read a body that is too long; the client then sees no answer.
        Ok(Err(_)) if matches!(&call.body, Body::Raw(_, bytes) if bytes.len() > 1 << 20) => judged(0, None),
        Ok(Err(error)) => judged(0, Some(error)),
        Err(_) => judged(0, Some("no answer in a minute".to_owned())),
    }
}

fn fault_of(document: &Document, call: &Call, answer: &Answer) -> Option<String> {
    let operation = &call.operation;
    let mut faults = document.faults(operation, answer);
    if answer.status >= 500 && !ASKED_FOR.contains(&answer.code()) && operation.id != "ready" {
        faults.push(format!("{} {}", answer.status, answer.code()));
    }
    if call.fits && malformed(answer) {
        faults.push(format!("what fits the document is refused: {}", answer.text));
    }
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn malformed(answer: &Answer) -> bool {
    answer.status == 400 && matches!(answer.code(), "VALIDATION_ERROR" | "INVALID_JSON")
}

fn tell(call: &Call, what: &str) -> String {
    let body = match &call.body {
        Body::None => String::new(),
        Body::Json(value) => value.to_string(),
        Body::Raw(media_type, bytes) => format!("{media_type} {} bytes", bytes.len()),
    };
    let body: String = body.chars().take(600).collect();
    format!(
        "{}: {what} <- {} {:?} {body}",
        call.operation.id,
        call.target.chars().take(400).collect::<String>(),
        call.headers
    )
}
