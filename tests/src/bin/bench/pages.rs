//! Pages of 20 out of 100,000 items: from the cache beside a handler that returns the same bytes from memory, and past
//! the cache beside Postgres's own time for the query.

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Instant;

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::create::fill;
use crate::figures::{Figures, connect};
use crate::instance::{DOMAIN, Instance, NETWORK, listening};
use crate::load::{Answer, Check, Connection, Requests, get, measure};

const ITEMS: usize = 100_000;
const FLOOR_PORT: u16 = 27_440;
const CLIENTS: [usize; 3] = [1, 16, 64];

pub async fn run(admin: &str) {
    println!("page of 20 out of {ITEMS}");
    let instances = Instance::start_network(admin, 1).await;
    let instance = &instances[0];
    fill(instance, ITEMS).await;
    let page = get(&network_page(300, 0), None);
    let bytes = Connection::open(instance.port).await.ask(&page).await.body;
    println!("{} bytes each", bytes.len());
    let floors = memory_floor(&bytes).await;
    let own =
        get(&format!("/api/v1/item/fetch?item_network={NETWORK}&item_domain={DOMAIN}&limit=20"), Some(&instance.key));
    cached(instance, "network page, cached", page, &floors).await;
    cached(instance, "own page, cached", own, &floors).await;
    uncached(instance, postgres_floor(instance).await).await;
    println!("resident memory, after: {} MiB", instance.resident_mib());
}

/// A network page that differs from others in its place in the cache more than in its cost.
pub fn network_page(ttl: usize, offset: usize) -> String {
    format!(
        "/api/v1/network/item/fetch?item_network={NETWORK}&item_domain={DOMAIN}&limit=20&offset={offset}&cache_ttl_seconds={ttl}"
    )
}

/// Requests none of which was made before: the lifetime is part of a page's key.
pub fn never_seen() -> Requests {
    Arc::new(|number| get(&network_page(301 + number % 3299, number / 3299), None))
}

async fn cached(instance: &Instance, what: &str, request: Vec<u8>, floors: &[Figures]) {
    let requests: Requests = Arc::new(move |_| request.clone());
    for (clients, floor) in CLIENTS.into_iter().zip(floors) {
        let figures = measure(instance.port, clients, &requests, is_answer).await;
        let beside = format!("{:.2} of the floor (budget 0.5 at 64)", figures.rate() / floor.rate());
        figures.row(&format!("{what}, {clients} clients"), &beside);
    }
}

async fn uncached(instance: &Instance, floor: f64) {
    let requests = never_seen();
    for clients in CLIENTS {
        let figures = measure(instance.port, clients, &requests, is_miss).await;
        let beside = match clients {
            1 => format!("floor + {:.2} ms (budget 0.5)", figures.percentile(50) - floor),
            _ => String::new(),
        };
        figures.row(&format!("network page, not cached, {clients} clients"), &beside);
    }
}

pub fn is_answer(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

pub fn is_miss(answer: &Answer) {
    is_answer(answer);
    assert!(answer.has("x-cache: miss"), "{:?}", answer.headers);
}

/// Rates of a bare handler with these bytes, in a process of its own.
async fn memory_floor(bytes: &[u8]) -> Vec<Figures> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let server =
        Floor(Command::new(std::env::current_exe().unwrap()).arg("serve-bytes").arg(file.path()).spawn().unwrap());
    listening(FLOOR_PORT).await;
    let requests: Requests = Arc::new(|_| get("/", None));
    let mut floors = Vec::new();
    for clients in CLIENTS {
        let figures = measure(FLOOR_PORT, clients, &requests, is_answer as Check).await;
        figures.row(&format!("floor: bytes from memory, {clients}"), "");
        floors.push(figures);
    }
    drop(server);
    floors
}

struct Floor(Child);

impl Drop for Floor {
    fn drop(&mut self) {
        if self.0.kill().and_then(|()| self.0.wait()).is_err() {
            eprintln!("the floor's server could not be stopped");
        }
    }
}

/// The floor's server: a handler that returns a file's bytes from memory.
pub async fn serve_bytes(file: &str) {
    let bytes = web::Bytes::from(std::fs::read(file).unwrap());
    let app = move || {
        let bytes = bytes.clone();
        let answer = move || {
            let bytes = bytes.clone();
            async move { HttpResponse::Ok().content_type("application/json; charset=utf-8").body(bytes) }
        };
        App::new().route("/", web::get().to(answer))
    };
    HttpServer::new(app).bind(("127.0.0.1", FLOOR_PORT)).unwrap().run().await.unwrap();
}

/// Median milliseconds of the bare query, prepared, over one connection.
async fn postgres_floor(instance: &Instance) -> f64 {
    let client = connect(&instance.database).await;
    let query = "select item_network, item_domain, item_type, item_id, item_instance_url, item_schema_url, item_state::text, \
                 item_latitude, item_longitude, created_by, created_at, updated_at, \
                 (select count from items_live.item_counts where item_network = $1 and item_domain = $2) \
                 from items_live.items where item_network = $1 and item_domain = $2 \
                 order by created_at desc, item_id desc limit 20";
    let query = client.prepare(query).await.unwrap();
    let (mut latencies, started) = (Vec::new(), Instant::now());
    for _ in 0..2000 {
        let sent = Instant::now();
        assert_eq!(client.query(&query, &[&NETWORK, &DOMAIN]).await.unwrap().len(), 20);
        latencies.push(sent.elapsed());
    }
    let figures = Figures::new(latencies, started);
    figures.row("floor: the query alone", "");
    figures.percentile(50)
}
