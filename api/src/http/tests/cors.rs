//! CORS against the whole middleware stack: every answer of ours has to be readable, refusals and panics too.

use std::sync::Arc;

use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::contract::{Contracts, Documents, InForce, InstanceUrl, LoadOptions, parse_bindings};
use crate::http::cors::{Cors, preflight};
use crate::http::{ApiError, Endpoint, envelope, no_such_route};

const PEER: &str = "https://b.example.org";
const UI: &str = "https://ui.example.org";

/// A contract that registers one instance beside ours.
fn contracts(peer: &str) -> Contracts {
    let entry = |url| json!({"domain_id": "d", "instance_url": url});
    let document = json!({"id": "n", "domains": [{"id": "d", "item_schemas": {"t": {"type": "object"}}}],
        "instances": [entry("https://a.example.org"), entry(peer)], "actions": {}});
    let options = LoadOptions {
        own_url: InstanceUrl::parse("https://a.example.org").unwrap(),
        served: parse_bindings("n/d").unwrap(),
        production: false,
        allow_extra: false,
    };
    Contracts::build(Documents::local(vec![document]), &options).unwrap().0
}

async fn fine() -> HttpResponse {
    HttpResponse::Ok().json(1)
}

async fn broken(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    assert!(!request.path().ends_with("panic"), "as told");
    Err(ApiError::unavailable())
}

struct Answer {
    status: u16,
    headers: HeaderMap,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is_readable_by(&self, origin: &str) {
        assert_eq!(self.header("access-control-allow-origin"), Some(origin));
        assert_eq!(self.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(
            self.header("access-control-expose-headers"),
            Some("set-auth-token, etag, dpg-position, dpg-projected, x-network-partial, x-request-id, retry-after")
        );
        self.is_complete();
    }

    #[track_caller]
    fn is_not_granted(&self) {
        let granted: Vec<_> = self.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
        assert!(granted.is_empty(), "{granted:?}");
        self.is_complete();
    }

    #[track_caller]
    fn is_complete(&self) {
        assert!(self.header("x-request-id").is_some());
        assert!(self.header("vary").is_some_and(|vary| vary.starts_with("Origin")));
    }
}

/// One instance's server and the contract that can be exchanged under it.
struct Bench {
    cors: web::Data<Cors>,
    in_force: Arc<InForce>,
}

impl Bench {
    fn new(localhost: bool) -> Self {
        let in_force = Arc::new(InForce::new(contracts(PEER)));
        let cors = web::Data::new(Cors::new(&[UI.to_owned()], localhost, in_force.clone()));
        Self { cors, in_force }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let app = App::new()
            .app_data(self.cors.clone())
            .service(Endpoint::at("/fine").get(fine).post(fine))
            .service(Endpoint::at("/broken/{how}").get(broken))
            .default_service(web::to(no_such_route))
            .wrap(from_fn(preflight))
            .wrap(from_fn(envelope));
        let app = init_service(app).await;
        let request = TestRequest::with_uri(path).method(method);
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        let response = match app.call(request.to_request()).await {
            Ok(response) => response.map_into_boxed_body(),
            Err(error) => ServiceResponse::from_err(error, TestRequest::default().to_http_request()),
        };
        Answer { status: response.status().as_u16(), headers: response.headers().clone() }
    }

    async fn get(&self, origin: &str) -> Answer {
        self.send(Method::GET, "/fine", &[("origin", origin)]).await
    }
}

#[actix_web::test]
async fn every_answer_is_readable_by_an_allowed_page() {
    let bench = Bench::new(false);
    for (method, path, status) in [
        (Method::GET, "/fine", 200),
        (Method::HEAD, "/fine", 200),
        (Method::GET, "/nothing", 404),
        (Method::DELETE, "/fine", 405),
        (Method::OPTIONS, "/fine", 204),
        (Method::GET, "/broken/down", 503),
        (Method::GET, "/broken/panic", 500),
    ] {
        for origin in [UI, PEER, "https://a.example.org"] {
            let answer = bench.send(method.clone(), path, &[("origin", origin)]).await;
            assert_eq!(answer.status, status, "{method} {path}");
            answer.is_readable_by(origin);
        }
        let answer = bench.send(method.clone(), path, &[("origin", "https://evil.example")]).await;
        assert_eq!(answer.status, status, "{method} {path}: served as usual");
        answer.is_not_granted();
        bench.send(method, path, &[]).await.is_not_granted();
    }
    let long = [("origin", UI), ("content-length", "2000000")];
    let answer = bench.send(Method::POST, "/fine", &long).await;
    assert_eq!(answer.status, 413);
    answer.is_readable_by(UI);
}

#[actix_web::test]
async fn only_the_exact_origin_counts() {
    let bench = Bench::new(false);
    for origin in [
        "null",
        "",
        "http://ui.example.org",
        "https://ui.example.org/",
        "https://UI.example.org",
        "https://ui.example.org.evil.example",
        "http://localhost:3000",
        "https://ui.example.org, https://b.example.org",
        "é",
    ] {
        bench.get(origin).await.is_not_granted();
    }
    bench.send(Method::GET, "/fine", &[("origin", UI), ("origin", PEER)]).await.is_not_granted();
    let development = Bench::new(true);
    for port in [3000, 5173, 2742] {
        let origin = format!("http://localhost:{port}");
        development.get(&origin).await.is_readable_by(&origin);
    }
    development.get("http://localhost:8080").await.is_not_granted();
    development.get("http://127.0.0.1:3000").await.is_not_granted();
}

#[actix_web::test]
async fn a_preflight_is_204_for_everybody_and_grants_to_the_allowed() {
    let bench = Bench::new(false);
    let asked = ("access-control-request-method", "PATCH");
    let wanted = ("access-control-request-headers", "authorization,x-any-thing");
    for path in ["/fine", "/nothing", "/broken/panic"] {
        let answer = bench.send(Method::OPTIONS, path, &[("origin", UI), asked, wanted]).await;
        assert_eq!(answer.status, 204, "{path}");
        answer.is_readable_by(UI);
        let methods = answer.header("access-control-allow-methods");
        assert_eq!(methods, Some("GET, POST, PUT, DELETE, OPTIONS, PATCH"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,x-any-thing"));
        assert_eq!(answer.header("vary"), Some("Origin, Access-Control-Request-Headers"));
        let answer = bench.send(Method::OPTIONS, path, &[("origin", "https://evil.example"), asked, wanted]).await;
        assert_eq!(answer.status, 204, "{path}");
        answer.is_not_granted();
        assert_eq!(answer.header("vary"), Some("Origin, Access-Control-Request-Headers"));
    }
    let bare = bench.send(Method::OPTIONS, "/fine", &[("origin", UI), asked]).await;
    assert_eq!((bare.status, bare.header("access-control-allow-headers")), (204, None));
    // No preflight: the methods of the path.
    for headers in [&[("origin", UI)][..], &[asked], &[]] {
        let answer = bench.send(Method::OPTIONS, "/fine", headers).await;
        assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
        assert_eq!(answer.header("access-control-allow-methods"), None);
    }
    assert_eq!(bench.send(Method::OPTIONS, "/nothing", &[("origin", UI)]).await.status, 404);
}

/// Trap 34: the list is not frozen at boot.
#[actix_web::test]
async fn another_contract_counts_at_once() {
    let bench = Bench::new(false);
    bench.get(PEER).await.is_readable_by(PEER);
    let other = "https://c.example.org";
    bench.get(other).await.is_not_granted();
    bench.in_force.put(contracts(other));
    bench.get(PEER).await.is_not_granted();
    for origin in [other, UI, "https://a.example.org"] {
        bench.get(origin).await.is_readable_by(origin);
    }
}
