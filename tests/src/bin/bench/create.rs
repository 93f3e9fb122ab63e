//! Creating items over HTTP, each visible to its client's next read, beside one commit's latency.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use crate::figures::{Figures, connect, fresh_database};
use crate::instance::{DOMAIN, ITEM_TYPE, Instance, NETWORK};
use crate::load::{Answer, Connection, Requests, measure, post};

pub async fn run(admin: &str) {
    println!("create over HTTP, durable, each answer waits until the tables show the item");
    let floor = commit_latency(admin).await;
    println!("{:<34} {:>9.0}/s   p50 {:>7.2} ms", "floor: one row, one commit", 1000.0 / floor, floor);
    let instances = Instance::start_network(admin, 1).await;
    let instance = &instances[0];
    println!("resident memory, idle: {} MiB", instance.resident_mib());
    let request = create_request(&instance.key);
    let requests: Requests = Arc::new(move |_| request.clone());
    for clients in [1, 16, 64] {
        let figures = measure(instance.port, clients, &requests, is_projected).await;
        let beside = match clients {
            1 => format!("{:.1} x one commit (budget 3)", figures.percentile(50) / floor),
            64 => format!("{:.2} of 5000/s", figures.rate() / 5000.0),
            _ => String::new(),
        };
        figures.row(&format!("create, {clients} clients"), &beside);
    }
    println!("resident memory, after: {} MiB", instance.resident_mib());
}

fn is_projected(answer: &Answer) {
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert!(answer.has("dpg-projected: true"), "an item was not to be read when its create was answered");
}

/// Fills an instance with items, as its clients would.
pub async fn fill(instance: &Instance, items: usize) {
    const CLIENTS: usize = 32;
    let request = create_request(&instance.key);
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (request, port) = (request.clone(), instance.port);
            tokio::spawn(async move {
                let mut connection = Connection::open(port).await;
                for _ in (number..items).step_by(CLIENTS) {
                    assert_eq!(connection.ask(&request).await.status, 201);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn create_request(key: &str) -> Vec<u8> {
    let body = json!({
        "item_network": NETWORK, "item_domain": DOMAIN, "item_type": ITEM_TYPE,
        "item_state": {"name": "Asha", "text": "x".repeat(700), "phone": "1234567890"},
        "item_latitude": 18.5, "item_longitude": 73.8,
    });
    post("/api/v1/item/create", key, &body.to_string())
}

/// Median time of a single-row insert that is committed durably, in milliseconds.
async fn commit_latency(admin: &str) -> f64 {
    let client = connect(&fresh_database(admin, "dpg_bench_commit").await).await;
    client.batch_execute("create table bare (n bigint primary key, t text)").await.unwrap();
    let insert = client.prepare("insert into bare values ($1, $2)").await.unwrap();
    let text = "x".repeat(1000);
    let (mut latencies, started) = (Vec::new(), Instant::now());
    for n in 0..1000_i64 {
        let sent = Instant::now();
        client.execute(&insert, &[&n, &text]).await.unwrap();
        latencies.push(sent.elapsed());
    }
    Figures::new(latencies, started).percentile(50)
}
