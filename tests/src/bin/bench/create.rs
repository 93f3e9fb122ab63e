//! Creating items over HTTP, each visible to its client's next read, beside one commit's latency.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::figures::{Figures, MEASURE, connect, fresh_database};

const PORT: u16 = 27_420;

pub async fn run(admin: &str) {
    println!("create over HTTP, durable, each answer waits until the tables show the item");
    let floor = commit_latency(admin).await;
    println!("{:<34} {:>9.0}/s   p50 {:>7.2} ms", "floor: one row, one commit", 1000.0 / floor, floor);
    let url = fresh_database(admin, "dpg_bench_create").await;
    let instance = Instance::start(&url).await;
    println!("resident memory, idle: {} MiB", instance.resident_mib());
    for clients in [1, 16, 64] {
        let figures = creates(clients, &instance.key).await;
        let beside = match clients {
            1 => format!("{:.1} x one commit (budget 3)", figures.percentile(50) / floor),
            64 => format!("{:.2} of 5000/s", figures.rate() / 5000.0),
            _ => String::new(),
        };
        figures.row(&format!("create, {clients} clients"), &beside);
    }
    println!("resident memory, after: {} MiB", instance.resident_mib());
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

struct Instance {
    child: Child,
    key: String,
    directory: tempfile::TempDir,
}

impl Instance {
    async fn start(url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let contract = directory.path().join("network.json");
        std::fs::write(&contract, contract_text()).unwrap();
        let key = command(&contract, url)
            .args(["keys", "create", "--user", "bench@example.org", "--create-user"])
            .output()
            .unwrap();
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        let key = String::from_utf8(key.stdout).unwrap().trim().lines().last().unwrap().to_owned();
        let client = connect(url).await;
        client.batch_execute("update api_keys set rate_limit_max = 2000000000").await.unwrap();
        let child = command(&contract, url).arg("serve").stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", PORT)).await.is_err() {
            assert!(Instant::now() < deadline, "the instance does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, key, directory }
    }

    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("the instance in {} could not be stopped", self.directory.path().display());
        }
    }
}

/// The `dpg` binary beside this one.
fn binary() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("dpg")
}

fn command(contract: &Path, url: &str) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().envs([
        ("INSTANCE_NAME", "bench"),
        ("INSTANCE_ENV", "development"),
        ("API_DOMAIN", "http://127.0.0.1"),
        ("AUTH_SECRET", "only for the benchmark"),
        ("SERVED_DOMAINS", "bench/seeker"),
        ("RUST_LOG", "warn"),
        ("POSTGRES_URL", url),
    ]);
    command.env("API_PORT", PORT.to_string()).env("NETWORK_CONFIG_LOCAL_FILE", contract);
    command
}

fn contract_text() -> String {
    serde_json::json!({
        "id": "bench",
        "domains": [{"id": "seeker", "item_schemas": {"profile_1.0": {
            "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}, "text": {"type": "string"}, "phone": {"type": "string", "private": true}},
        }}}],
        "instances": [{"domain_id": "seeker", "instance_url": format!("http://127.0.0.1:{PORT}")}],
    })
    .to_string()
}

async fn creates(clients: usize, key: &str) -> Figures {
    let body = serde_json::json!({
        "item_network": "bench", "item_domain": "seeker", "item_type": "profile_1.0",
        "item_state": {"name": "Asha", "text": "x".repeat(700), "phone": "1234567890"},
        "item_latitude": 18.5, "item_longitude": 73.8,
    })
    .to_string();
    let request = format!(
        "POST /api/v1/item/create HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(client(request.clone().into_bytes(), started))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    Figures::new(latencies, started)
}

/// A closed loop over one kept-alive connection. Every answer must be 201 and projected.
async fn client(request: Vec<u8>, started: Instant) -> Vec<Duration> {
    let stream = TcpStream::connect(("127.0.0.1", PORT)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    let (mut latencies, mut body) = (Vec::new(), Vec::new());
    while started.elapsed() < MEASURE {
        let sent = Instant::now();
        stream.write_all(&request).await.unwrap();
        let (mut line, mut length, mut projected) = (String::new(), 0, false);
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 201"), "{line}");
        loop {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            projected |= header == "dpg-projected: true";
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await.unwrap();
        assert!(projected, "an item was not to be read when its create was answered");
        latencies.push(sent.elapsed());
    }
    latencies
}
