//! Loads against a small HTTP server whose documents, faults and absence the test decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::contract::tests::{options, yellow_dot};
use crate::contract::{EntryKind, ItemTypeError};

#[derive(Clone)]
enum Reply {
    Text(u16, String),
    Never,
}

/// Answers by path and notes what it was asked for.
#[derive(Clone)]
struct Server {
    url: String,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, replies: Arc::default(), asked: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let length = stream.read(&mut head).await.unwrap();
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    serving.asked.lock().unwrap().push(path.clone());
                    let reply = serving.replies.lock().unwrap().get(&path).cloned();
                    let (status, body) = match reply.unwrap_or(Reply::Text(404, String::new())) {
                        Reply::Text(status, body) => (status, body),
                        Reply::Never => std::future::pending().await,
                    };
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nlocation: /other.json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    // A client that has read enough hangs up.
                    if stream.write_all(head.as_bytes()).await.is_ok() {
                        drop(stream.write_all(body.as_bytes()).await);
                    }
                });
            }
        });
        server
    }

    fn put(&self, path: &str, document: &Value) {
        self.reply(path, Reply::Text(200, document.to_string()));
    }

    fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    fn off(&self) {
        self.replies.lock().unwrap().clear();
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

struct Bed {
    server: Server,
    directory: TempDir,
    options: SourceOptions,
}

impl Bed {
    /// The contract's example at `/network.json`.
    async fn new() -> Self {
        let (server, directory) = (Server::start().await, TempDir::new().unwrap());
        server.put("/network.json", &yellow_dot());
        let url = Url::parse(&server.at("/network.json")).unwrap();
        let options = SourceOptions {
            load: options("yellow_dot/student"),
            urls: Some(vec![("yellow_dot".to_owned(), url)]),
            file: directory.path().join("network.json"),
            cache_root: directory.path().join("cache"),
            instance_name: "a".to_owned(),
            timeout: Duration::from_secs(10),
            guard: Guard::open(),
        };
        Self { server, directory, options }
    }

    fn source(&self) -> Source {
        Source::new(self.options.clone()).unwrap()
    }

    async fn boot(&self) -> Result<Loaded, LoadError> {
        self.source().load(None, At::Boot).await
    }

    async fn problems(&self) -> Vec<String> {
        let problems = self.boot().await.unwrap_err().into_problems();
        problems.iter().map(ToString::to_string).collect()
    }

    /// Loads and keeps the copies.
    async fn boot_and_store(&self) -> Contracts {
        let loaded = self.boot().await.unwrap();
        self.source().store(&loaded.contracts).await.unwrap();
        loaded.contracts
    }

    fn cached(&self) -> std::path::PathBuf {
        let mut entries = std::fs::read_dir(&self.options.cache_root).unwrap();
        let entry = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        entry
    }
}

fn with(document: Value, edit: impl FnOnce(&mut Value)) -> Value {
    let mut document = document;
    edit(&mut document);
    document
}

#[tokio::test]
async fn a_remote_document_is_its_own_source() {
    let bed = Bed::new().await;
    bed.server.put("/network.json", &with(yellow_dot(), |it| it["source_url"] = json!("https://elsewhere.example")));
    let loaded = bed.boot().await.unwrap();
    assert_eq!(loaded.warnings, []);
    let network = loaded.contracts.network("yellow_dot").unwrap();
    assert_eq!(network.document()["source_url"], bed.server.at("/network.json"));
    let item_type = loaded.contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap();
    assert_eq!(item_type.schema_url(), bed.server.at("/network.json#/item_schemas/yellow_dot/student/profile_1.0"));
    assert!(loaded.contracts.entries(&EntryFilter::default()).iter().all(|entry| entry.source == "remote"));
}

#[tokio::test]
async fn references_are_followed_across_documents_and_in_circles() {
    let bed = Bed::new().await;
    bed.server.put(
        "/network.json",
        &with(yellow_dot(), |it| {
            it["domains"][0]["item_schemas"]["profile_1.0"]["properties"]["city"] =
                json!({"$ref": "parts/place.json#/$defs/city%20name"});
        }),
    );
    let place = json!({"$defs": {"city name": {"type": "string", "near": {"$ref": "#/$defs/city%20name"},
        "allOf": [{"$ref": "tree.json"}]}}});
    bed.server.put("/parts/place.json", &place);
    let tree =
        json!({"anyOf": [{"type": "string"}, {"items": {"$ref": "#"}}, {"$ref": "place.json#/$defs/city%20name"}]});
    bed.server.put("/parts/tree.json", &tree);
    let contracts = bed.boot_and_store().await;
    let item_type = contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap();
    let state = |city: Value| json!({"name": "A", "phone": "1234567890", "city": city});
    assert_eq!(item_type.validate(&state(json!("Pune"))), []);
    assert_eq!(item_type.validate(&state(json!(5)))[0].path, "/item_state/city");
    let mut asked = bed.server.asked();
    asked.sort();
    assert_eq!(asked, ["/network.json", "/parts/place.json", "/parts/tree.json"]);
    let entries = contracts.entries(&EntryFilter::default());
    let urls: Vec<_> =
        entries.iter().filter(|it| it.kind == EntryKind::ItemSchemaUrl).map(|it| it.schema_url.clone()).collect();
    assert_eq!(urls.len(), 2);
    // Everything comes from the disk while the server is away, and as it was.
    bed.server.off();
    let again = bed.boot().await.unwrap();
    assert_eq!(again.contracts.documents(), contracts.documents());
    assert_eq!(again.warnings.len(), 3, "{:?}", again.warnings);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let mut bed = Bed::new().await;
    let away = Url::parse("http://127.0.0.1:1/network.json").unwrap();
    bed.options.urls.as_mut().unwrap().push(("gone".to_owned(), away));
    let other = Url::parse(&bed.server.at("/other.json")).unwrap();
    bed.options.urls.as_mut().unwrap().push(("other".to_owned(), other));
    bed.server
        .put("/other.json", &json!({"name": "another", "domains": [{"id": "d", "minimum_cache_ttl_seconds": 0}]}));
    bed.server.put(
        "/network.json",
        &with(yellow_dot(), |it| {
            it["cross_network_origins"] = json!([{"id": "x", "schema_url": bed.server.at("/page.html")}]);
            it["domains"][0]["item_schemas"]["a"] = json!({"$ref": "/part.json#/gone"});
            it["domains"][0]["item_schemas"]["b"] = json!({"$ref": "/absent.json"});
            it["domains"][0]["item_schemas"]["c"] = json!({"type": "strin"});
            it["domains"][1]["item_schemas"]["d"] = json!({"$ref": "/absent.json"});
        }),
    );
    bed.server.put("/part.json", &json!({}));
    bed.server.reply("/page.html", Reply::Text(200, "<html>".to_owned()));
    let problems = bed.problems().await;
    for part in [
        "http://127.0.0.1:1/network.json can't be had: no answer",
        "/page.html can't be had: the answer is not JSON",
        "other.json#/id: is \"another\", but the network \"other\" was expected there",
        "other.json#/domains/0/minimum_cache_ttl_seconds",
        "network.json#/domains/0/item_schemas/a/$ref: \"/part.json#/gone\" points to nothing",
        "absent.json can't be had: the answer has status 404",
        "network.json#/domains/0/item_schemas/c/type",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
    }
}

#[tokio::test]
async fn hostile_servers_cost_a_document_and_no_more() {
    let mut bed = Bed::new().await;
    bed.options.timeout = Duration::from_secs(1);
    let paths = ["/slow.json", "/huge.json", "/moved.json", "/garbage.json", "/nul.json"];
    bed.server.put(
        "/network.json",
        &with(yellow_dot(), |it| {
            for (number, path) in paths.iter().enumerate() {
                it["domains"][1]["item_schemas"][format!("t{number}")] = json!({"$ref": path});
            }
        }),
    );
    bed.server.reply("/slow.json", Reply::Never);
    bed.server.reply("/huge.json", Reply::Text(200, format!("\"{}\"", "x".repeat(4 << 20))));
    bed.server.reply("/moved.json", Reply::Text(302, String::new()));
    bed.server.reply("/garbage.json", Reply::Text(200, "{".to_owned()));
    bed.server.reply("/nul.json", Reply::Text(200, r#"{"title":"\u0000"}"#.to_owned()));
    let warnings: Vec<_> = bed.boot().await.unwrap().warnings.iter().map(ToString::to_string).collect();
    let reasons = ["did not come in time", "larger than 4 MiB", "status 302", "not JSON", "U+0000"];
    for (path, reason) in paths.iter().zip(reasons) {
        assert!(warnings.iter().any(|it| it.contains(path) && it.contains(reason)), "{path}: {warnings:#?}");
    }
    assert!(!bed.server.asked().contains(&"/other.json".to_owned()), "a redirect was followed");
}

#[tokio::test]
async fn a_chain_of_documents_ends_at_the_limit() {
    let bed = Bed::new().await;
    bed.server.put(
        "/network.json",
        &with(yellow_dot(), |it| {
            it["domains"][0]["item_schemas"]["long"] = json!({"$ref": "/0.json"});
            it["instances"][1]["custom_item_schema_urls"] = json!({"t": bed.server.at("/custom.json")});
        }),
    );
    for number in 0..70 {
        bed.server.put(&format!("/{number}.json"), &json!({"items": {"$ref": format!("/{}.json", number + 1)}}));
    }
    let problems = bed.problems().await;
    assert!(
        problems.iter().any(|it| it.contains("/64.json can't be had: the contract names more than 64")),
        "{problems:?}"
    );
    // What this instance needs was asked for first.
    assert!(!bed.server.asked().contains(&"/custom.json".to_owned()));
    bed.server.put("/63.json", &json!(true));
    assert!(bed.boot().await.is_ok());
}

#[tokio::test]
async fn in_production_what_a_document_names_is_guarded() {
    let mut bed = Bed::new().await;
    bed.options.guard = Guard::public_only([]).unwrap();
    bed.server.put(
        "/network.json",
        &with(yellow_dot(), |it| {
            it["domains"][0]["item_schemas"]["part"] = json!({"$ref": "part.json"});
            it["cross_network_origins"] = json!([{"id": "x", "schema_url": bed.server.at("/x.json")}]);
        }),
    );
    let problems = bed.problems().await;
    let refused =
        |path: &str| problems.iter().any(|it| it.contains(path) && it.contains("outgoing calls may not reach"));
    assert!(refused("/part.json") && refused("/x.json"), "{problems:?}");
    assert_eq!(bed.server.asked(), ["/network.json"]);
}

#[tokio::test]
async fn other_networks_are_loaded_one_hop_away() {
    let mut bed = Bed::new().await;
    let server = bed.server.clone();
    let origin = |id: &str, path: &str| json!({"id": id, "schema_url": server.at(path)});
    bed.server.put(
        "/network.json",
        &with(yellow_dot(), |it| {
            it["cross_network_origins"] =
                json!([origin("green_dot", "/green.json"), origin("yellow_dot", "/network.json")]);
        }),
    );
    let green = json!({"name": "green_dot", "cross_network_origins": [origin("red_dot", "/red.json"), origin("yellow_dot", "/network.json")]});
    bed.server.put("/green.json", &green);
    let contracts = bed.boot_and_store().await;
    assert_eq!(contracts.networks().iter().map(|it| it.id()).collect::<Vec<_>>(), ["yellow_dot", "green_dot"]);
    assert_eq!(bed.server.asked(), ["/network.json", "/green.json"]);
    // One URL can't be two networks, and what answers has to be the one that was named.
    bed.server.put("/network.json", &with(yellow_dot(), |it| {
        it["cross_network_origins"] = json!([origin("blue_dot", "/green.json"), origin("pink_dot", "/network.json"),
            origin("green_dot", "/green.json"), {"id": "own", "schema_url": "https://a.example.org/network.json"}, {"id": "u", "schema_url": "urn:x"}]);
    }));
    let problems = bed.problems().await;
    for part in [
        "is \"green_dot\", but the network \"blue_dot\"",
        "origins/1/schema_url",
        "origins/2/schema_url",
        "origins/3/schema_url",
        "origins/4/schema_url",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
    }
    // A local document names others too.
    bed.options.urls = None;
    std::fs::write(
        &bed.options.file,
        json!([yellow_dot(), {"id": "b", "cross_network_origins": [origin("green_dot", "/green.json")]}]).to_string(),
    )
    .unwrap();
    let contracts = bed.boot().await.unwrap().contracts;
    assert_eq!(contracts.networks().iter().map(|it| it.id()).collect::<Vec<_>>(), ["yellow_dot", "b", "green_dot"]);
}

#[tokio::test]
async fn a_refetch_takes_no_old_copy_of_what_is_needed() {
    let bed = Bed::new().await;
    let network = with(yellow_dot(), |it| {
        it["domains"][0]["item_schemas"]["part"] = json!({"$ref": "part.json"});
        it["instances"][0]["custom_item_schema_urls"] = json!({"profile_1.0": bed.server.at("/own.json")});
        it["instances"][1]["custom_item_schema_urls"] = json!({"profile_1.0": bed.server.at("/theirs.json")});
    });
    for (path, document) in [
        ("/network.json", &network),
        ("/part.json", &json!({})),
        ("/own.json", &json!({"title": "own"})),
        ("/theirs.json", &json!({"title": "theirs"})),
    ] {
        bed.server.put(path, document);
    }
    let good = bed.boot_and_store().await;
    assert_eq!(good.item_type("yellow_dot", "student", "profile_1.0").unwrap().schema(), &json!({"title": "own"}));
    let away = Reply::Text(503, "{}".to_owned());
    let refetch = async || bed.source().load(Some(good.documents()), At::Refetch).await;
    for (path, document) in
        [("/network.json", &network), ("/part.json", &json!({})), ("/own.json", &json!({"title": "own"}))]
    {
        bed.server.reply(path, away.clone());
        let refused = refetch().await;
        let Err(LoadError::Fetch(problems)) = refused else { panic!("{path}: {refused:?}") };
        assert!(problems.iter().any(|it| it.to_string().contains(path)), "{path}: {problems:?}");
        assert!(bed.boot().await.is_ok(), "{path}");
        bed.server.put(path, document);
    }
    bed.server.reply("/theirs.json", away);
    let loaded = refetch().await.unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert_eq!(loaded.contracts.documents(), good.documents());
    bed.server.put("/network.json", &with(network, |it| it["domains"][0]["item_schemas"]["part"] = json!({"type": 1})));
    assert!(matches!(refetch().await, Err(LoadError::Invalid(_))));
}

#[tokio::test]
async fn a_boot_without_a_custom_schema_lets_only_its_type_wait() {
    let bed = Bed::new().await;
    bed.server.put(
        "/network.json",
        &with(yellow_dot(), |it| {
            it["instances"][0]["custom_item_schema_urls"] = json!({"profile_1.0": bed.server.at("/own.json")});
        }),
    );
    let loaded = bed.boot().await.unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let missing = loaded.contracts.item_type("yellow_dot", "student", "profile_1.0").unwrap_err();
    assert_eq!(missing, ItemTypeError::Unreachable);
    let refused = bed.source().load(Some(loaded.contracts.documents()), At::Refetch).await;
    assert!(matches!(refused, Err(LoadError::Fetch(_))), "{refused:?}");
}

#[tokio::test]
async fn copies_are_whole_pruned_and_not_shared() {
    let mut bed = Bed::new().await;
    bed.server.put("/network.json", &with(yellow_dot(), |it| it["$defs"] = json!({"x": {"$ref": "#"}})));
    let contracts = bed.boot_and_store().await;
    let directory = bed.cached();
    assert!(directory.file_name().unwrap().to_str().unwrap().starts_with("a-"));
    let index: Value = serde_json::from_slice(&std::fs::read(directory.join("index.json")).unwrap()).unwrap();
    assert!(index["updated_at"].is_string());
    let entries = contracts.entries(&EntryFilter::default());
    assert_eq!(index["entries"].as_object().unwrap().len(), entries.len());
    for entry in &entries {
        let mut listed = serde_json::to_value(entry).unwrap();
        listed.as_object_mut().unwrap().remove("schema");
        assert_eq!(index["entries"][&entry.cache_key], listed);
        assert!(directory.join("schemas").join(&entry.file_name).exists());
    }
    // A torn index hides nothing; a torn document is no copy, and is written again.
    let network = &entries.iter().find(|entry| entry.kind == EntryKind::NetworkConfig).unwrap().file_name;
    std::fs::write(directory.join("index.json"), "{\"entr").unwrap();
    bed.server.off();
    assert!(bed.boot().await.is_ok());
    std::fs::write(directory.join("schemas").join(network), "{\"id\": \"yell").unwrap();
    assert!(bed.boot().await.is_err());
    bed.server.put("/network.json", &with(yellow_dot(), |it| it["domains"] = json!([it["domains"][0]])));
    let fewer = bed.boot_and_store().await;
    assert_eq!(
        std::fs::read_dir(directory.join("schemas")).unwrap().count(),
        fewer.entries(&EntryFilter::default()).len()
    );
    bed.server.off();
    assert!(bed.boot().await.is_ok());
    // Another instance finds nothing there.
    bed.options.load.own_url = crate::contract::tests::url("https://other.example.org");
    assert!(bed.boot().await.is_err());
    let file = bed.directory.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    bed.options.cache_root = file;
    assert!(matches!(bed.source().store(&fewer).await, Err(StoreError::File { .. })));
}
