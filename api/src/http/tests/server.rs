use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use serde_json::{Value, json};

use crate::http::body::{MAX_BODY, read_json, read_optional_json};
use crate::http::fields::{collect, read_body};
use crate::http::scalars::{name, object, uuid};
use crate::http::{ApiError, Endpoint, Fault, Form, envelope, no_such_route, request_id};
use actix_web::http::StatusCode;

/// What came back, as it stood on the wire.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there more than once");
        value
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends the bytes as they are and reads until the server closes.
fn exchange(server: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer[end + 4..].to_vec() }
}

fn send(server: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{length}{headers}\r\n");
    exchange(server, &[head.as_bytes(), body].concat())
}

/// Credentials stand in for those of the tiers: without the header it is 401, before the body is looked at.
fn authenticate(request: &HttpRequest) -> Result<(), ApiError> {
    if request.headers().contains_key("x-user") {
        return Ok(());
    }
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Sign in or send an API key.");
    Err(error.with_form(Form::User))
}

async fn show(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(json!({"id": request_id(&request)})))
}

async fn create(request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, ApiError> {
    authenticate(&request)?;
    let body = read_json(&request, &mut payload).await?;
    let created =
        read_body(&body, |f| (f.required(("item_domain", "domain"), name), f.optional("item_state", object)))?;
    Ok(HttpResponse::Created().json(json!({"domain": created.0, "state": created.1})))
}

async fn update(request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let body = read_json(&request, &mut payload).await?;
    collect(|faults| {
        let id: uuid::Uuid = faults.path(&request, "itemId", uuid);
        faults.body(&body, |f| {
            f.optional("item_state", object);
            f.refuse_unknown();
        });
        HttpResponse::Ok().json(json!({"id": id}))
    })
}

async fn sign_out(request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let body = read_optional_json(&request, &mut payload).await?;
    Ok(HttpResponse::Ok().json(json!({"body": body})))
}

async fn refuse(kind: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let conflict = ApiError::new(StatusCode::CONFLICT, "ITEM_CONFLICT", "Lost the race.");
    Err(match kind.as_str() {
        "both" => conflict.with_form(Form::Both),
        "unavailable" => ApiError::unavailable(),
        "extra" => {
            let mut error = conflict;
            error.extra.insert("allowed_networks".to_owned(), json!(["yellow_dot"]));
            error
        }
        "panic" => panic!("a secret that must not show"),
        _ => ApiError::internal(&std::io::Error::other("a secret that must not show")),
    })
}

async fn framework(kind: web::Path<u32>) -> HttpResponse {
    HttpResponse::from_error(actix_web::error::ErrorInternalServerError(format!("secret {kind}")))
}

async fn passed_on() -> HttpResponse {
    HttpResponse::Conflict().insert_header(("vary", "Accept, origin")).content_type("text/plain").body("the target's")
}

/// Runs the blocking client beside a real server.
async fn with_server(client: impl FnOnce(SocketAddr) + Send + 'static) {
    let server = HttpServer::new(|| {
        App::new()
            .service(Endpoint::at("/show").get(show))
            .service(Endpoint::at("/create").post(create))
            .service(Endpoint::at("/item/{itemId}").patch(update).delete(show))
            .service(Endpoint::at("/sign-out").post(sign_out))
            .service(Endpoint::at("/refuse/{kind}").get(refuse))
            .service(Endpoint::at("/framework/{kind}").get(framework))
            .service(Endpoint::at("/passed-on").get(passed_on))
            .default_service(web::to(no_such_route))
            .wrap(from_fn(envelope))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    let outcome = actix_web::rt::task::spawn_blocking(move || client(address)).await;
    handle.stop(false).await;
    serving.await.unwrap().unwrap();
    outcome.unwrap();
}

const AS_USER: &str = "x-user: asha\r\ncontent-type: application/json\r\n";

#[actix_web::test]
async fn a_request_id_is_kept_or_minted() {
    with_server(|server| {
        let kept = send(server, "GET", "/show", "x-request-id: 5f0c8d1e\r\n", b"");
        assert_eq!(kept.header("x-request-id"), Some("5f0c8d1e"));
        assert_eq!(kept.json()["id"], "5f0c8d1e");
        for bad in ["", "a b", "\u{e9}", &"x".repeat(201)] {
            let minted = send(server, "GET", "/nowhere", &format!("x-request-id: {bad}\r\n"), b"");
            let id = minted.header("x-request-id").unwrap();
            assert!(id != bad && id.len() == 32, "{id}");
            assert_eq!(minted.json()["request_id"], id);
        }
    })
    .await;
}

#[actix_web::test]
async fn every_answer_has_the_common_headers() {
    with_server(|server| {
        for path in ["/show", "/nowhere", "/refuse/panic", "/framework/1", "/framework/x", "/refuse/both"] {
            let answer = send(server, "GET", path, "", b"");
            assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{path}");
            assert!(answer.header("x-request-id").is_some(), "{path}");
        }
        let other = send(server, "GET", "/passed-on", "", b"");
        assert_eq!((other.status, other.body.as_slice()), (409, b"the target's".as_slice()));
        assert_eq!(other.header("vary"), Some("Accept, origin"));
        assert_eq!(other.header("content-type"), Some("text/plain"));
    })
    .await;
}

#[actix_web::test]
async fn the_three_forms_of_a_refusal() {
    with_server(|server| {
        let id = "x-request-id: r\r\n";
        let plain = send(server, "GET", "/nowhere", id, b"");
        let body = json!({"error": "NOT_FOUND", "message": "There is no such route.", "request_id": "r"});
        assert_eq!((plain.status, plain.json()), (404, body));
        let user = send(server, "POST", "/create", id, b"");
        let body = json!({"code": "UNAUTHORIZED", "error": "Unauthorized", "message": "Sign in or send an API key.",
            "request_id": "r"});
        assert_eq!((user.status, user.json()), (401, body));
        let both = send(server, "GET", "/refuse/both", id, b"").json();
        assert_eq!((&both["error"], &both["code"]), (&json!("ITEM_CONFLICT"), &json!("ITEM_CONFLICT")));
        assert_eq!(both.get("details"), None);
        let extra = send(server, "GET", "/refuse/extra", id, b"").json();
        assert_eq!(extra["allowed_networks"], json!(["yellow_dot"]));
        let later = send(server, "GET", "/refuse/unavailable", id, b"");
        assert_eq!((later.status, later.header("retry-after")), (503, Some("1")));
    })
    .await;
}

#[actix_web::test]
async fn a_5xx_shows_nothing_of_its_cause() {
    with_server(|server| {
        for path in ["/refuse/panic", "/refuse/error", "/framework/1"] {
            let answer = send(server, "GET", path, "", b"");
            assert_eq!((answer.status, &answer.json()["error"]), (500, &json!("INTERNAL_SERVER_ERROR")), "{path}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{path}");
        }
        assert_eq!(send(server, "GET", "/show", "", b"").status, 200, "the worker lives on");
    })
    .await;
}

#[actix_web::test]
async fn paths_are_exact_and_methods_are_told() {
    with_server(|server| {
        for path in ["/show/", "//show", "/SHOW", "/item", "/item/"] {
            assert_eq!(send(server, "GET", path, "", b"").status, 404, "{path}");
        }
        let refused = send(server, "PUT", "/item/x", "", b"");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("PATCH, DELETE, OPTIONS")));
        assert_eq!(refused.json()["error"], "METHOD_NOT_ALLOWED");
        assert_eq!(send(server, "POST", "/show", "", b"").header("allow"), Some("GET, HEAD, OPTIONS"));
        let options = send(server, "OPTIONS", "/create", "", b"");
        assert_eq!((options.status, options.header("allow")), (204, Some("POST, OPTIONS")));
        assert!(options.body.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn head_answers_like_get_without_the_body() {
    with_server(|server| {
        let id = "x-request-id: r\r\n";
        let (get, head) = (send(server, "GET", "/show", id, b""), send(server, "HEAD", "/show", id, b""));
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(send(server, "HEAD", "/create", id, b"").status, 405);
        assert_eq!(send(server, "HEAD", "/nowhere", id, b"").body.len(), 0);
    })
    .await;
}

#[actix_web::test]
async fn checks_come_in_their_order() {
    with_server(|server| {
        let long = format!("content-length: {}\r\n", MAX_BODY + 1);
        assert_eq!(send(server, "POST", "/nowhere", &long, b"").status, 404);
        assert_eq!(send(server, "PUT", "/create", &long, b"").status, 405);
        let declared = send(server, "POST", "/create", &long, b"");
        assert_eq!((declared.status, &declared.json()["error"]), (413, &json!("PAYLOAD_TOO_LARGE")));
        assert_eq!(send(server, "POST", "/create", "content-type: text/plain\r\n", b"not JSON").status, 401);
        let media = send(server, "POST", "/create", "x-user: a\r\ncontent-type: text/plain\r\n", b"not JSON");
        assert_eq!((media.status, &media.json()["error"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")));
        assert_eq!(send(server, "POST", "/create", "x-user: a\r\n", b"{}").status, 415);
        let malformed = send(server, "POST", "/create", AS_USER, b"not JSON");
        assert_eq!((malformed.status, &malformed.json()["error"]), (400, &json!("INVALID_JSON")));
        let missing = send(server, "POST", "/create", "x-user: a\r\n", b"");
        assert_eq!((missing.status, &missing.json()["error"]), (400, &json!("INVALID_JSON")));
        let schema = send(server, "POST", "/create", AS_USER, b"{\"item_state\":1}").json();
        assert_eq!(schema["error"], "VALIDATION_ERROR");
        assert_eq!(
            schema["details"],
            json!([{"path": "/item_domain", "message": "is required"}, {"path": "/item_state", "message": "must be an object"}])
        );
    })
    .await;
}

#[actix_web::test]
async fn a_body_has_at_most_one_mebibyte() {
    with_server(|server| {
        let body_of = |length: usize| {
            let frame = r#"{"domain":"d","item_state":{"s":""}}"#.len();
            format!(r#"{{"domain":"d","item_state":{{"s":"{}"}}}}"#, "x".repeat(length - frame)).into_bytes()
        };
        assert_eq!(send(server, "POST", "/create", AS_USER, &body_of(MAX_BODY)).status, 201);
        assert_eq!(send(server, "POST", "/create", AS_USER, &body_of(MAX_BODY + 1)).status, 413);
        let chunked = |body: &[u8]| {
            let head = format!(
                "POST /create HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{AS_USER}\
                transfer-encoding: chunked\r\n\r\n"
            );
            let chunks =
                body.chunks(50_000).map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            exchange(server, &[head.into_bytes(), chunks.collect::<Vec<_>>().concat(), b"0\r\n\r\n".to_vec()].concat())
        };
        assert_eq!(chunked(&body_of(MAX_BODY)).status, 201);
        assert_eq!(chunked(&body_of(MAX_BODY + 1)).status, 413);
    })
    .await;
}

#[actix_web::test]
async fn a_route_without_a_body_takes_an_empty_one() {
    with_server(|server| {
        assert_eq!(send(server, "POST", "/sign-out", "", b"").json()["body"], Value::Null);
        assert_eq!(send(server, "POST", "/sign-out", "content-type: text/plain\r\n", b"").status, 200);
        assert_eq!(send(server, "POST", "/sign-out", "content-type: text/plain\r\n", b"x").status, 415);
        let media = "content-type: Application/JSON; charset=utf-8\r\n";
        assert_eq!(send(server, "POST", "/sign-out", media, b"{}").json()["body"], json!({}));
    })
    .await;
}

#[actix_web::test]
async fn faults_of_path_and_body_come_together() {
    with_server(|server| {
        let answer =
            send(server, "PATCH", "/item/not-a-uuid", AS_USER, br#"{"item_state":null,"item_id":"x","a/b":1}"#);
        let details = answer.json()["details"].clone();
        let paths: Vec<_> = details.as_array().unwrap().iter().map(|fault| fault["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/itemId", "/item_state", "/item_id", "/a~1b"]);
        let id = "019AA3C1-7F20-7B11-8C3D-2F4E5A6B7C8D";
        let answer = send(server, "PATCH", &format!("/item/{id}"), AS_USER, b"{}");
        assert_eq!(answer.json()["id"], id.to_lowercase());
        assert_eq!(send(server, "PATCH", "/item/%00", AS_USER, b"{}").status, 400);
        let null = send(server, "POST", "/create", AS_USER, br#"{"item_domain":"a\u0000b"}"#).json();
        assert_eq!(null["error"], "VALIDATION_ERROR");
        assert_eq!(null["details"][0]["path"], "/item_domain");
    })
    .await;
}

#[test]
fn an_error_renders_without_the_middleware_too() {
    let error = ApiError::validation(vec![Fault::new("/a", "is required")]);
    assert_eq!(error.message, "1 field is not valid.");
    assert_eq!(error.error_response().status(), 400);
    let many = ApiError::validation(vec![Fault::new("/a", "is required"); 5000]);
    assert_eq!((many.message.as_str(), many.details.len()), ("5000 fields are not valid.", 100));
}
