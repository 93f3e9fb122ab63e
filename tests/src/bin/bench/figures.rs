//! Databases, percentiles, and how a figure is printed.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// How long each figure is measured.
pub const MEASURE: Duration = Duration::from_secs(5);

/// A fresh database on the cluster; its URL.
pub async fn fresh_database(admin: &str, name: &str) -> String {
    let client = connect(admin).await;
    client.batch_execute(&format!("drop database if exists {name} with (force)")).await.unwrap();
    client.batch_execute(&format!("create database {name}")).await.unwrap();
    let (server, _) = admin.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What a closed loop of clients saw.
pub struct Figures {
    latencies: Vec<Duration>,
    took: Duration,
}

impl Figures {
    pub fn new(latencies: Vec<Duration>, started: Instant) -> Self {
        Self::over(latencies, started.elapsed())
    }

    /// The same for a load whose time was set beforehand.
    pub fn over(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort_unstable();
        Self { latencies, took }
    }

    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }

    pub fn row(&self, what: &str, floor: &str) {
        println!(
            "{what:<34} {:>9.0}/s   p50 {:>7.2} ms   p99 {:>7.2} ms   {floor}",
            self.rate(),
            self.percentile(50),
            self.percentile(99)
        );
    }
}

/// A rate without latencies.
pub fn rate_row(what: &str, rate: f64, beside: &str) {
    println!("{what:<34} {rate:>9.0}/s   {beside}");
}
