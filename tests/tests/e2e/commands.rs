//! The operator's commands, and what a process refuses to start with: every fault is named, and at once.

use std::process::Output;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dpg_tests::network::{CONNECT, PROFILE, STUDENT, TUTOR};
use dpg_tests::{Contract, Instance, Role, TestDatabase, port};
use serde_json::json;

/// All settings of CONTRACT 14.
const SETTINGS: [&str; 47] = [
    "INSTANCE_NAME",
    "INSTANCE_ENV",
    "API_DOMAIN",
    "API_PORT",
    "TRUSTED_PROXIES",
    "AUTH_SECRET",
    "AUTH_MIDDLEWARE_ENABLED",
    "CREATE_TEST_OTP",
    "ADMIN_DOMAINS",
    "ADMIN_KEY",
    "ALLOWED_ORIGINS",
    "NODE_ENV",
    "SERVED_DOMAINS",
    "NETWORK_CONFIG_SOURCE",
    "NETWORK_CONFIG_LOCAL_FILE",
    "NETWORK_CONFIG_URLS",
    "SCHEMA_REGISTRY_URL",
    "SCHEMA_CACHE_DIR",
    "ALLOW_EXTRA_SCHEMA_DATA",
    "POSTGRES_URL",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_DB",
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "DATABASE_PORT",
    "REDIS_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_PASSWORD",
    "PEER_AUTH",
    "PEER_PRIVATE_KEY",
    "PEER_PRIVATE_KEY_FILE",
    "PEER_ALLOW_PRIVATE",
    "PEER_TIMEOUT_MS",
    "READ_YOUR_WRITES_TIMEOUT_MS",
    "NOTIFICATION_SERVICE_ENDPOINT",
    "NOTIFICATION_SERVICE_KEY_ID",
    "NOTIFICATION_SERVICE_SECRET",
    "SMS_TEMPLATE_ID",
    "MATCH_SCORE_PROVIDER",
    "DPG_SCORING_ENDPOINT",
    "DPG_SCORING_PATH",
    "DPG_SCORING_KEY_ID",
    "DPG_SCORING_SECRET",
    "DPG_SCORING_VERSION",
    "DPG_SCORING_PROMPT_VERSION",
];

/// A key pair of RFC 8032, section 7.1, test 1; and the public key of its test 2.
const PRIVATE: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const ANOTHER: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

fn base64_of(hex: &str) -> String {
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"));
    BASE64_STANDARD.encode(bytes.collect::<Vec<u8>>())
}

async fn instance_with(change: impl FnOnce(Contract) -> Contract) -> (Instance, u16) {
    let port = port::free();
    let url = port::url(port);
    let contract = change(Contract::new().instance(STUDENT, &url).instance(TUTOR, &url));
    (Instance::new("both", &[STUDENT, TUTOR], &url, TestDatabase::create().await, &contract), port)
}

async fn instance() -> Instance {
    instance_with(|contract| contract).await.0
}

/// Runs a command that must end by itself.
async fn run(instance: &Instance, arguments: &[&str]) -> (Option<i32>, String, String) {
    let ended = tokio::time::timeout(Duration::from_secs(60), instance.run(arguments)).await;
    let Output { status, stdout, stderr } = ended.unwrap_or_else(|_| panic!("dpg {arguments:?} does not end"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

#[track_caller]
fn assert_named(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not named in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn config_lists_every_setting_and_shows_no_secret() {
    let instance = instance()
        .await
        .set("POSTGRES_URL", "postgres://dpg:hush-database@127.0.0.1:1/dpg")
        .set("POSTGRES_PASSWORD", "hush-postgres")
        .set("REDIS_URL", "redis://:hush-cache@127.0.0.1:1")
        .set("REDIS_PASSWORD", "hush-redis")
        .set("AUTH_SECRET", "hush-auth")
        .set("ADMIN_KEY", "hush-admin")
        .set("NOTIFICATION_SERVICE_ENDPOINT", "http://127.0.0.1:1")
        .set("NOTIFICATION_SERVICE_KEY_ID", "shown-key-id")
        .set("NOTIFICATION_SERVICE_SECRET", "hush-notification")
        .set("MATCH_SCORE_PROVIDER", "dpg_scoring")
        .set("DPG_SCORING_ENDPOINT", "http://127.0.0.1:1")
        .set("DPG_SCORING_KEY_ID", "scoring-key-id")
        .set("DPG_SCORING_SECRET", "hush-scoring")
        .set("PEER_PRIVATE_KEY", &base64_of(PRIVATE));
    let (code, output, errors) = run(&instance, &["config"]).await;
    assert_eq!(code, Some(0), "{output}\n{errors}");
    for name in SETTINGS {
        assert!(output.lines().any(|line| line.trim() == name), "{name} is not listed in:\n{output}");
    }
    assert_named(&output, &["shown-key-id", "127.0.0.1:1/dpg", "default: 2742", "default: required"]);
    for text in [&output, &errors] {
        assert!(!text.contains("hush") && !text.contains(&base64_of(PRIVATE)), "a secret is shown:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn config_and_serve_name_all_faults_at_once() {
    let instance = instance()
        .await
        .set("INSTANCE_NAME", "")
        .set("API_PORT", "many")
        .set("AUTH_SECRET", "hush")
        .set("PEER_AUTH", "sometimes")
        .set("PEER_TIMEOUT_MS", "soon")
        .set("PEER_PRIVATE_KEY", "hush")
        .set("POSTGRES_URL", "mysql://dpg:hush@127.0.0.1/dpg");
    let faulty = ["INSTANCE_NAME", "AUTH_SECRET", "PEER_AUTH", "PEER_TIMEOUT_MS", "PEER_PRIVATE_KEY", "POSTGRES_URL"];
    for command in ["config", "serve", "api", "projector", "mirror", "migrate", "verify", "contract"] {
        let (code, output, errors) = run(&instance, &[command]).await;
        assert_eq!(code, Some(2), "{command}: {output}\n{errors}");
        assert_named(&errors, &faulty);
        assert!(!errors.contains("hush") && !output.contains("hush"), "{command} shows a secret:\n{output}\n{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_can_be_run_again_and_verify_is_content_with_an_empty_log() {
    let instance = instance().await;
    let client = instance.database.client().await;
    let tables = || async {
        let query = "select count(*) from pg_class where relnamespace::regnamespace::text !~ '^(pg_|information)'";
        client.query_one(query, &[]).await.expect("the catalogue").get::<_, i64>(0)
    };
    assert_eq!(tables().await, 0);
    let (code, output, errors) = run(&instance, &["migrate"]).await;
    assert_eq!(code, Some(0), "{output}\n{errors}");
    let made = tables().await;
    assert!(made > 0, "nothing was made");
    let (code, output, errors) = run(&instance, &["migrate"]).await;
    assert_eq!(code, Some(0), "{output}\n{errors}");
    assert_eq!(tables().await, made, "the second run made something");
    let (code, output, errors) = run(&instance, &["verify"]).await;
    assert_eq!(code, Some(0), "{output}\n{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_prints_what_it_defines_and_names_every_fault() {
    let (code, output, errors) = run(&instance().await, &["contract"]).await;
    assert_eq!(code, Some(0), "{output}\n{errors}");
    assert_named(&output, &[STUDENT, TUTOR, PROFILE, CONNECT]);

    let broken = |contract: Contract| {
        contract.instance("astronaut", "http://{{host}}:1").edit(|document| {
            document["domains"][0]["item_schemas"][PROFILE]["type"] = json!(12);
            document["domains"][1]["item_schemas"][PROFILE]["$ref"] = json!("#/$defs/absent");
            document["actions"][CONNECT]["interactions"][0]["requirement_schema"]["required"] = json!("subject");
            document["actions"]["wave"] = json!({"interactions": [{"from_domain": STUDENT}]});
        })
    };
    let (instance, _) = instance_with(broken).await;
    for command in ["contract", "serve"] {
        let (code, output, errors) = run(&instance, &[command]).await;
        assert_eq!(code, Some(2), "{command}: {output}\n{errors}");
        let paths = ["/domains/0/", "/domains/1/", "/actions/connect/interactions/0", "/actions/wave", "/instances/2"];
        assert_named(&errors, &paths);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_does_not_start_without_a_database() {
    let instance = instance()
        .await
        .set("INSTANCE_ENV", "production")
        .set("CREATE_TEST_OTP", "false")
        .set("NOTIFICATION_SERVICE_ENDPOINT", "http://127.0.0.1:1")
        .set("NOTIFICATION_SERVICE_KEY_ID", "id")
        .set("NOTIFICATION_SERVICE_SECRET", "long enough")
        .set("POSTGRES_URL", "");
    for command in ["serve", "migrate", "config"] {
        let (code, output, errors) = run(&instance, &[command]).await;
        assert_eq!(code, Some(2), "{command}: {output}\n{errors}");
        assert_named(&errors, &["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_URL"]);
        let mut faults = errors.lines().filter(|line| line.trim_start().starts_with("- "));
        assert!(faults.all(|line| line.contains("POSTGRES")), "another fault than the database:\n{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_that_the_contract_does_not_know_is_refused() {
    let with_key = |hex: &'static str| {
        move |contract: Contract| {
            contract.edit(|document| {
                for instance in document["instances"].as_array_mut().expect("instances") {
                    instance["public_key"] = json!(format!("ed25519:{}", base64_of(hex)));
                }
            })
        }
    };
    let (mismatched, _) = instance_with(with_key(ANOTHER)).await;
    let mismatched = mismatched.set("PEER_PRIVATE_KEY", &base64_of(PRIVATE));
    let (code, output, errors) = run(&mismatched, &["serve"]).await;
    assert_eq!(code, Some(2), "{output}\n{errors}");
    assert_named(&errors, &["PEER_PRIVATE_KEY"]);
    assert!(!errors.contains(&base64_of(PRIVATE)), "{errors}");

    let (matched, port) = instance_with(with_key(PUBLIC)).await;
    let matched = matched.set("PEER_PRIVATE_KEY", &base64_of(PRIVATE)).set("PEER_AUTH", "enforced");
    let mut process = matched.start(Role::Serve, port).await;
    let status = process.terminate().await;
    assert!(status.success(), "{status}");
    let keyless = matched.set("PEER_PRIVATE_KEY", "");
    let (code, output, errors) = run(&keyless, &["serve"]).await;
    assert_eq!(code, Some(2), "{output}\n{errors}");
    assert_named(&errors, &["PEER_PRIVATE_KEY", "PEER_AUTH"]);
}
