//! What holds for every answer, whatever was asked (CONTRACT 1.1, 1.2, 1.8, 1.10 and 8.6). The suite applies it to each
//! exchange of each case, so that no header has to be asked for again and again.

use dpg_tests::record::Exchange;
use serde_json::Value;

/// Writes to the log of the instance that answers.
const WRITES: &[(&str, &str)] = &[
    ("POST", "/api/v1/item/create"),
    ("PATCH", "/api/v1/item/"),
    ("DELETE", "/api/v1/item/"),
    ("POST", "/api/v1/network/action/perform"),
    ("POST", "/api/v1/network/action/update-status"),
];
/// Those that may land on another instance, or be one of many: a position only when something was appended here.
const MAYBE_WRITES: &[&str] =
    &["/api/v1/action/perform", "/api/v1/action/update-status", "/api/v1/event/store", "/api/v1/event/store/batch"];
/// Codes whose errors may list faults.
const DETAILED: &[&str] = &[
    "VALIDATION_ERROR",
    "INVALID_ITEM_STATE",
    "INVALID_ACTION_REQUEST",
    "INVALID_ACTION_EVENT",
    "INVALID_EVENT_REQUEST",
    "NETWORK_CONFIG_INVALID",
];
/// Text that would show our inside.
const LEAKS: &[&str] = &["select ", "insert into", "panicked", ".rs:", "/tmp/", "os error", "ECONNREFUSED", "dpgt_"];

/// The first rule that an exchange breaks.
pub fn broken(exchange: &Exchange) -> Option<String> {
    let rules = [request_id, vary, media_type, envelope, waiting, leaks, positions, tags, caches, partial, sessions];
    rules.into_iter().find_map(|rule| rule(exchange).err())
}

type Kept = Result<(), String>;

fn kept(holds: bool, rule: &str) -> Kept {
    if holds { Ok(()) } else { Err(format!("a rule for all answers is broken: {rule}")) }
}

fn route(exchange: &Exchange) -> &str {
    exchange.path.split('?').next().unwrap_or_default()
}

/// The route has answered, and not only told its methods.
fn ok(exchange: &Exchange) -> bool {
    (200..300).contains(&exchange.answer.status) && exchange.method != "OPTIONS"
}

fn code(exchange: &Exchange) -> &str {
    exchange.answer.code()
}

fn request_id(exchange: &Exchange) -> Kept {
    let id = exchange.answer.header("x-request-id").unwrap_or_default();
    let well_formed = |id: &str| (1..=200).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    kept(well_formed(id), "x-request-id is on every answer (1.1)")?;
    let asked = exchange.sent("x-request-id").filter(|id| well_formed(id));
    kept(asked.is_none_or(|asked| asked == id), "a request's x-request-id is echoed (1.1)")
}

fn vary(exchange: &Exchange) -> Kept {
    let lines = exchange.answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok());
    let named = lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case("origin"));
    kept(named, "vary: Origin, always (1.1)")
}

fn media_type(exchange: &Exchange) -> Kept {
    let told = exchange.answer.header("content-type").unwrap_or_default();
    let (status, ok) = (exchange.answer.status, ok(exchange));
    match route(exchange) {
        _ if status == 204 => kept(exchange.answer.text.is_empty(), "204 has no body (1.1)"),
        "/metrics" if ok => kept(told.starts_with("text/plain; version=0.0.4"), "/metrics is Prometheus text (4.2)"),
        "/api/reference" if ok => kept(told.starts_with("text/html"), "/api/reference is HTML (4.3)"),
        path if path.starts_with("/api/reference") && (ok || status / 100 == 3) => Ok(()),
        _ => kept(told == "application/json; charset=utf-8", "content-type: application/json; charset=utf-8 (1.1)"),
    }
}

fn envelope(exchange: &Exchange) -> Kept {
    let (status, body) = (exchange.answer.status, &exchange.answer.body);
    if status < 400 || exchange.method == "HEAD" {
        return Ok(());
    }
    if status == 405 {
        let allow = exchange.answer.header("allow").unwrap_or_default();
        kept(!allow.is_empty(), "allow is on every 405 (1.1)")?;
    }
    // The body of a peer is passed on as it is (4.9).
    let passed_on = matches!(route(exchange), "/api/v1/action/perform" | "/api/v1/action/update-status");
    let ours = body["request_id"].as_str() == exchange.answer.header("x-request-id");
    if passed_on && status < 500 && !ours {
        return Ok(());
    }
    if route(exchange) == "/health/ready" && status == 503 {
        return Ok(());
    }
    kept(ours, "request_id is the x-request-id header (1.2)")?;
    kept(body["error"].is_string() && body["message"].is_string(), "an error has a code and a message (1.2)")?;
    let upper =
        |code: &str| code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    kept(upper(code(exchange)), "a code is stable (1.2)")?;
    if route(exchange).starts_with("/api/auth/") {
        kept(body["error"] == body["code"], "an /api/auth error has its code in both places (1.2)")?;
    }
    details(exchange)
}

fn details(exchange: &Exchange) -> Kept {
    let told = match &exchange.answer.body["details"] {
        Value::Null => return kept(code(exchange) != "VALIDATION_ERROR", "VALIDATION_ERROR has details (1.2)"),
        told => told.as_array().map(Vec::as_slice).unwrap_or_default(),
    };
    kept(DETAILED.contains(&code(exchange)) && !told.is_empty(), "details are there for schema faults only (1.2)")?;
    let pointer = |fault: &Value| fault["path"].as_str().is_some_and(|path| path.is_empty() || path.starts_with('/'));
    kept(told.iter().all(|fault| pointer(fault) && fault["message"].is_string()), "a fault is a pointer and a message")
}

fn waiting(exchange: &Exchange) -> Kept {
    let wait = exchange.answer.header("retry-after");
    let seconds = wait.and_then(|text| text.parse::<u64>().ok());
    kept(wait.is_none() || seconds.is_some(), "retry-after is whole seconds (1.1)")?;
    let asked = exchange.answer.status == 429
        || matches!(code(exchange), "SERVICE_UNAVAILABLE" | "PROJECTION_BEHIND" | "IDEMPOTENCY_KEY_IN_PROGRESS");
    kept(!asked || seconds.is_some(), "retry-after is on 429, SERVICE_UNAVAILABLE and PROJECTION_BEHIND (1.1)")
}

fn leaks(exchange: &Exchange) -> Kept {
    kept(!exchange.answer.text.contains("item_private_state"), "there is never an item_private_state key (3.1)")?;
    let inside = exchange.answer.status >= 500 && route(exchange) != "/metrics";
    let leak = LEAKS.iter().find(|leak| inside && exchange.answer.text.contains(**leak));
    kept(leak.is_none(), "a 5xx shows nothing of the inside (1.2)")
}

fn positions(exchange: &Exchange) -> Kept {
    let position = exchange.answer.header("dpg-position");
    let projected = exchange.answer.header("dpg-projected");
    let (method, path) = (exchange.method.as_str(), route(exchange));
    let write = WRITES.iter().any(|(verb, start)| *verb == method && path.starts_with(start));
    let maybe = method == "POST" && MAYBE_WRITES.contains(&path);
    if !ok(exchange) || !(write || maybe) {
        return kept(position.is_none() && projected.is_none(), "dpg-position and dpg-projected are for writes (1.8)");
    }
    let number = position.is_none_or(|text| text.parse::<u64>().is_ok());
    kept(number && (maybe || position.is_some()), "a write answers its dpg-position (1.8)")?;
    let batch = path == "/api/v1/event/store/batch";
    kept(batch || matches!(projected, Some("true" | "false")), "a write answers dpg-projected (1.8)")
}

fn tags(exchange: &Exchange) -> Kept {
    let Some(tag) = exchange.answer.header("etag") else { return Ok(()) };
    let item = route(exchange).starts_with("/api/v1/item/") && ok(exchange);
    let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse::<u64>().ok());
    kept(item && version.is_some(), "etag is on single-item answers, the version in quotes (1.10)")
}

fn caches(exchange: &Exchange) -> Kept {
    let told = exchange.answer.header("x-cache");
    let page = matches!(route(exchange), "/api/v1/item/fetch" | "/api/v1/network/item/fetch");
    if page && ok(exchange) {
        return kept(matches!(told, Some("hit" | "miss" | "bypass")), "x-cache is on pages of items (1.1)");
    }
    kept(told.is_none(), "x-cache is on pages of items only (1.1)")
}

fn partial(exchange: &Exchange) -> Kept {
    let told = exchange.answer.header("x-network-partial");
    let partial = exchange.answer.body["meta"]["partial"] == Value::Bool(true);
    if exchange.method == "HEAD" {
        return Ok(());
    }
    kept(told == partial.then_some("true"), "x-network-partial: true is on an incomplete page, and nowhere else (1.1)")
}

fn sessions(exchange: &Exchange) -> Kept {
    let told = exchange.answer.header("set-auth-token");
    let starts = matches!(
        route(exchange),
        "/api/auth/unified-otp/verify" | "/api/auth/sign-in/email" | "/api/auth/sign-up/email"
    );
    if !(starts && ok(exchange)) {
        return kept(told.is_none(), "set-auth-token is sent when a session starts (1.1)");
    }
    let token = exchange.answer.body["token"].as_str().unwrap_or_default();
    let signed = told.is_some_and(|told| told.strip_prefix(token).is_some_and(|rest| rest.starts_with('.')));
    kept(token.len() == 32 && signed, "a starting session sends token and set-auth-token: token.signature (10)")
}
