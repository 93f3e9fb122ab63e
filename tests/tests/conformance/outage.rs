//! CONTRACT 1.2 and 4.2 with the database away: 503 with Retry-After where it is needed, answers where it is not, and
//! nothing of our inside in any of them.

use dpg_tests::network::{NETWORK, STUDENT};
use dpg_tests::{Contract, Fault, Node, Proxy, User, eventually};
use serde_json::json;

use crate::suite::Suite;
use crate::world::World;

pub async fn cases(suite: &mut Suite, _world: &World) {
    let mut broken = None;
    let mut route = suite.route("(instances)");
    route.case("an instance starts whose database then goes away", async { broken = Some(start().await) }).await;
    let Some((node, line, asha)) = broken else { return };
    line.set(Fault::Refuse).await;
    let nobody = node.process.client();
    let mut route = suite.route("GET /health/ready");
    route
        .case("503 not_ready when a required check fails", async {
            let answer = eventually("it notices", dpg_tests::log::SOON, || async {
                let answer = nobody.get("/health/ready").send().await;
                if answer.status == 503 { Ok(answer) } else { Err(answer) }
            })
            .await;
            assert_eq!(answer.body["status"], json!("not_ready"));
            assert_eq!(answer.body["checks"]["postgres"]["ok"], json!(false));
            assert_eq!(answer.body["checks"]["contract"]["ok"], json!(true));
        })
        .await;
    let mut route = suite.route("1.2 errors");
    for path in ["/", "/health/live", "/metrics", "/.well-known/dpg-peer", "/api/v1/network/schemas", "/api/auth/ok"] {
        route
            .case(format!("{path} needs no database"), async {
                let _answer = nobody.get(path).send().await.expect(200);
            })
            .await;
    }
    let pair = format!("item_network={NETWORK}&item_domain={STUDENT}");
    let item = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": "profile_1.0", "item_state": {"name": "Asha"}});
    for (path, body) in [
        (format!("/api/v1/item/fetch?{pair}"), None),
        ("/api/v1/action/fetch".to_owned(), None),
        ("/api/v1/event/fetch".to_owned(), None),
        (format!("/api/v1/network/item/fetch?{pair}&limit=33"), None),
        ("/api/v1/item/create".to_owned(), Some(item)),
        ("/api/v1/network/item/count_local".to_owned(), Some(json!({"item_network": NETWORK, "item_domain": STUDENT}))),
        ("/api/auth/get-session".to_owned(), None),
        ("/api/auth/unified-otp/request".to_owned(), Some(json!({"email": "a@example.com"}))),
        ("/api/auth/unified-otp/check-user".to_owned(), Some(json!({"email": "a@example.com"}))),
    ] {
        let method = if body.is_some() { "POST" } else { "GET" };
        let title = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let mut route = suite.route(&title);
        route
            .case("without the database: 503 SERVICE_UNAVAILABLE with Retry-After", async {
                let asked = match &body {
                    Some(body) => asha.post(&path).json(body),
                    None => asha.get(&path),
                };
                asked.send().await.expect_error(503, "SERVICE_UNAVAILABLE");
            })
            .await;
    }
    line.set(Fault::Pass).await;
    let mut route = suite.route("1.2 errors");
    route
        .case("it recovers by itself", async {
            eventually("writes again", dpg_tests::log::SOON, || async {
                let answer = asha.create(STUDENT, &json!({"name": "Asha"})).send().await;
                if answer.status == 201 { Ok(()) } else { Err(answer) }
            })
            .await;
        })
        .await;
}

async fn start() -> (Node, Proxy, User) {
    let url: url::Url = dpg_tests::required("DPG_TEST_POSTGRES").parse().expect("a URL");
    let line = Proxy::start(url.port().unwrap_or(5432)).await;
    let proxied = line.url();
    let node = Node::both_with(Contract::new(), |instance| {
        let mut through: url::Url = instance.database.url().parse().expect("a URL");
        let port = proxied.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        through.set_port(port).expect("a URL with a host");
        instance.set("POSTGRES_URL", through.as_str())
    })
    .await;
    let asha = node.sign_up("asha").await;
    (node, line, asha)
}
