use std::collections::HashMap;
use std::io::Write;

use super::settings::{ALL, describe};
use super::*;

const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

fn development() -> HashMap<&'static str, &'static str> {
    HashMap::from([
        ("INSTANCE_NAME", "instance-a"),
        ("INSTANCE_ENV", "development"),
        ("API_DOMAIN", "http://localhost"),
        ("AUTH_SECRET", "very-secret"),
        ("SERVED_DOMAINS", "yellow_dot/student, yellow_dot/tutor,yellow_dot/student"),
    ])
}

fn production() -> HashMap<&'static str, &'static str> {
    let mut variables = development();
    variables.extend([
        ("INSTANCE_ENV", "production"),
        ("API_DOMAIN", "https://a.example.org/"),
        ("POSTGRES_URL", "postgres://dpg:hunter2hunter2@db/dpg?sslmode=require"),
    ]);
    variables
}

fn parse(variables: &HashMap<&'static str, &'static str>) -> Result<Config, Vec<Problem>> {
    Config::parse(&|name| variables.get(name).map(|text| (*text).to_owned()))
}

fn parse_with(
    mut variables: HashMap<&'static str, &'static str>,
    more: &[(&'static str, &'static str)],
) -> Result<Config, Vec<Problem>> {
    variables.extend(more.iter().copied());
    parse(&variables)
}

fn problems(variables: HashMap<&'static str, &'static str>, more: &[(&'static str, &'static str)]) -> Vec<String> {
    let problems = parse_with(variables, more).expect_err("the configuration should be refused");
    problems.into_iter().map(|problem| problem.variable).collect()
}

#[test]
fn the_least_of_a_development_configuration_has_the_defaults() {
    let config = parse(&development()).unwrap();
    assert_eq!(config.base_url, "http://localhost:2742");
    assert_eq!(config.database, DatabaseSource::Embedded);
    assert_eq!(config.redis, None);
    assert_eq!(config.peer_auth, PeerAuth::Permissive);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.peer_timeout, Duration::from_secs(5));
    assert_eq!(config.read_your_writes_timeout, Duration::from_secs(1));
    assert!(config.auth_middleware_enabled && config.localhost_origins && !config.create_test_otp);
    let pairs = [("yellow_dot", "student"), ("yellow_dot", "tutor")];
    assert_eq!(config.served_domains, pairs.map(|(network, domain)| (network.to_owned(), domain.to_owned())));
    assert_eq!(config.contract_file, PathBuf::from("network.json"));
    assert!(config.warnings.is_empty());
}

#[test]
fn every_problem_is_reported_at_once() {
    let found = problems(
        HashMap::new(),
        &[
            ("API_PORT", "70000"),
            ("POSTGRES_USER", "dpg"),
            ("PEER_AUTH", "enforce"),
            ("NETWORK_CONFIG_SOURCE", "ftp"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,10.0.0.0/99"),
            ("PEER_TIMEOUT_MS", "soon"),
            ("ADMIN_KEY", "short"),
        ],
    );
    for name in [
        "INSTANCE_NAME",
        "INSTANCE_ENV",
        "API_DOMAIN",
        "AUTH_SECRET",
        "SERVED_DOMAINS",
        "API_PORT",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
        "PEER_AUTH",
        "NETWORK_CONFIG_SOURCE",
        "TRUSTED_PROXIES",
        "PEER_TIMEOUT_MS",
        "ADMIN_KEY",
    ] {
        assert_eq!(found.iter().filter(|variable| *variable == name).count(), 1, "{name} in {found:?}");
    }
    assert_eq!(found.len(), 13, "{found:?}");
}

#[test]
fn an_empty_variable_counts_as_not_given() {
    let config = parse_with(development(), &[("API_PORT", ""), ("POSTGRES_URL", " "), ("REDIS_URL", "")]).unwrap();
    assert_eq!(config.api_port, 2742);
    assert_eq!(config.database, DatabaseSource::Embedded);
    assert_eq!(problems(development(), &[("AUTH_SECRET", "")]), ["AUTH_SECRET"]);
}

#[test]
fn only_the_exact_text_true_is_true() {
    for text in ["TRUE", "1", "yes", "false"] {
        assert!(!parse_with(development(), &[("ALLOW_EXTRA_SCHEMA_DATA", text)]).unwrap().allow_extra_schema_data);
    }
    assert!(parse_with(development(), &[("ALLOW_EXTRA_SCHEMA_DATA", "true")]).unwrap().allow_extra_schema_data);
}

#[test]
fn partial_postgres_settings_are_refused() {
    for part in ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_HOST", "POSTGRES_PORT", "DATABASE_PORT"]
    {
        let value = if part == "POSTGRES_PASSWORD" { "long-enough" } else { "5432" };
        let found = problems(development(), &[(part, value)]);
        let needed = ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"];
        let missing: Vec<_> = needed.into_iter().filter(|name| *name != part).collect();
        assert_eq!(found, missing, "only {part}");
    }
    let mut nothing = production();
    nothing.remove("POSTGRES_URL");
    assert_eq!(problems(nothing, &[]), ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"]);
}

#[test]
fn postgres_parts_make_a_url() {
    let parts = [("POSTGRES_USER", "d@g"), ("POSTGRES_PASSWORD", "p/ss:w%rd"), ("POSTGRES_DB", "dpg")];
    let url = |more: &[_]| match parse_with(development(), &[&parts, more].concat()).unwrap().database {
        DatabaseSource::Url(url) => url.expose().clone(),
        DatabaseSource::Embedded => panic!("parts are given"),
    };
    assert_eq!(url(&[]), "postgres://d%40g:p%2Fss%3Aw%25rd@127.0.0.1:5432/dpg");
    assert!(url(&[("DATABASE_PORT", "1")]).ends_with("@127.0.0.1:1/dpg"));
    assert!(url(&[("DATABASE_PORT", "1"), ("POSTGRES_PORT", "2"), ("POSTGRES_HOST", "db")]).ends_with("@db:2/dpg"));
    let parsed: tokio_postgres::Config = url(&[("POSTGRES_HOST", "/run/pg")]).parse().unwrap();
    assert_eq!(parsed.get_user(), Some("d@g"));
    assert_eq!(parsed.get_password(), Some("p/ss:w%rd".as_bytes()));
    let short = [&parts[..], &[("POSTGRES_PASSWORD", "short")]].concat();
    assert_eq!(problems(development(), &short), ["POSTGRES_PASSWORD"]);
    assert_eq!(problems(development(), &[("POSTGRES_URL", "mysql://x")]), ["POSTGRES_URL"]);
}

#[test]
fn redis_is_there_when_url_host_or_password_is() {
    let redis = |more: &[_]| parse_with(development(), more).unwrap().redis.map(|url| url.expose().clone());
    assert_eq!(redis(&[("REDIS_PORT", "1")]), None);
    assert_eq!(redis(&[("REDIS_HOST", "cache")]).unwrap(), "redis://cache:6370");
    assert_eq!(redis(&[("REDIS_PASSWORD", "a b"), ("REDIS_PORT", "1")]).unwrap(), "redis://:a%20b@127.0.0.1:1");
    assert_eq!(redis(&[("REDIS_URL", "redis://r:7/1"), ("REDIS_HOST", "x")]).unwrap(), "redis://r:7/1");
    assert_eq!(problems(development(), &[("REDIS_URL", "http://r")]), ["REDIS_URL"]);
}

#[test]
fn production_refuses_the_test_code_and_ignores_the_switch() {
    assert_eq!(problems(production(), &[("CREATE_TEST_OTP", "true")]), ["CREATE_TEST_OTP"]);
    assert!(parse_with(development(), &[("CREATE_TEST_OTP", "true")]).unwrap().create_test_otp);
    let config = parse_with(production(), &[("AUTH_MIDDLEWARE_ENABLED", "false")]).unwrap();
    assert!(config.auth_middleware_enabled && !config.localhost_origins && config.trusted_proxies.is_empty());
    assert!(!parse_with(development(), &[("AUTH_MIDDLEWARE_ENABLED", "false")]).unwrap().auth_middleware_enabled);
    assert!(!parse_with(development(), &[("NODE_ENV", "production")]).unwrap().localhost_origins);
}

#[test]
fn base_urls() {
    let base_url = |variables, domain| parse_with(variables, &[("API_DOMAIN", domain)]).map(|config| config.base_url);
    assert_eq!(base_url(production(), "https://a.example.org/").unwrap(), "https://a.example.org");
    assert_eq!(base_url(development(), "http://127.0.0.1:80/").unwrap(), "http://127.0.0.1:80");
    assert_eq!(base_url(development(), "http://[::1]").unwrap(), "http://[::1]:2742");
    assert_eq!(base_url(development(), "http://[::1]:9").unwrap(), "http://[::1]:9");
    for bad in ["a.example.org", "ftp://a", "https://a/path", "https://a?x", "https://u:p@a", "http://"] {
        assert!(base_url(development(), bad).is_err(), "{bad}");
    }
}

#[test]
fn peer_keys() {
    for (name, text) in [("PEER_PRIVATE_KEY", SEED), ("PEER_PRIVATE_KEY", PEM)] {
        let config = parse_with(production(), &[("PEER_AUTH", "enforced"), (name, text)]).unwrap();
        let key = config.peer_private_key.unwrap();
        assert_eq!(ed25519_seed(key.expose()), ed25519_seed(SEED));
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(PEM.as_bytes()).unwrap();
    let path: &'static str = file.path().to_str().unwrap().to_owned().leak();
    assert!(parse_with(production(), &[("PEER_PRIVATE_KEY_FILE", path)]).unwrap().peer_private_key.is_some());
    let both = [("PEER_PRIVATE_KEY_FILE", path), ("PEER_PRIVATE_KEY", SEED)];
    assert_eq!(problems(production(), &both), ["PEER_PRIVATE_KEY_FILE"]);
    let missing = [("PEER_PRIVATE_KEY_FILE", "/nowhere/key"), ("PEER_AUTH", "enforced")];
    assert_eq!(problems(production(), &missing), ["PEER_PRIVATE_KEY_FILE"]);
    assert_eq!(problems(production(), &[("PEER_PRIVATE_KEY", "c2hvcnQ=")]), ["PEER_PRIVATE_KEY"]);
    assert_eq!(problems(production(), &[("PEER_AUTH", "enforced")]), ["PEER_AUTH"]);
    let warnings = parse_with(production(), &[("PEER_AUTH", "off")]).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
}

#[test]
fn lists() {
    let config = parse_with(
        production(),
        &[
            ("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
            ("PEER_ALLOW_PRIVATE", "10.1.0.0/16,Peer.internal,::1"),
            ("ALLOWED_ORIGINS", "https://ui.example.org, http://localhost:5173,capacitor://localhost"),
            ("ADMIN_DOMAINS", "Example.org,@example.com"),
        ],
    )
    .unwrap();
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.peer_allow_private.networks.len(), 2);
    assert_eq!(config.peer_allow_private.hosts, ["peer.internal"]);
    assert_eq!(config.allowed_origins.len(), 3);
    assert_eq!(config.admin_domains, ["example.org", "example.com"]);
    for bad in ["*", "null", "ui.example.org", "https://ui.example.org/", "https://ui.example.org/x"] {
        assert_eq!(problems(production(), &[("ALLOWED_ORIGINS", bad)]), ["ALLOWED_ORIGINS"], "{bad}");
    }
    for bad in ["Yellow/student", "yellow", "yellow/1st", "a/b/c", "/b", "a/"] {
        assert_eq!(problems(production(), &[("SERVED_DOMAINS", bad)]), ["SERVED_DOMAINS"], "{bad}");
    }
    assert_eq!(problems(production(), &[("SERVED_DOMAINS", " , ")]), ["SERVED_DOMAINS"]);
    assert_eq!(problems(production(), &[("PEER_ALLOW_PRIVATE", "10.0.0.0/99")]), ["PEER_ALLOW_PRIVATE"]);
    assert_eq!(problems(production(), &[("PEER_ALLOW_PRIVATE", "10.0.0")]), ["PEER_ALLOW_PRIVATE"]);
}

#[test]
fn outbound_services_need_all_their_settings() {
    let service = [
        ("NOTIFICATION_SERVICE_ENDPOINT", "https://ns.example.org"),
        ("NOTIFICATION_SERVICE_KEY_ID", "k"),
        ("NOTIFICATION_SERVICE_SECRET", "topsecret"),
        ("MATCH_SCORE_PROVIDER", "dpg_scoring"),
        ("DPG_SCORING_ENDPOINT", "https://score.example.org"),
        ("DPG_SCORING_KEY_ID", "k"),
        ("DPG_SCORING_SECRET", "topsecret"),
    ];
    let config = parse_with(production(), &service).unwrap();
    assert_eq!(config.notification.unwrap().sms_template_id, "login_otp");
    assert_eq!(config.scoring.unwrap().path, "api/v1/scores/match");
    let partial = parse_with(production(), &service[..1]).unwrap();
    assert_eq!((partial.notification, partial.warnings.len()), (None, 1));
    assert_eq!(problems(production(), &[("DPG_SCORING_ENDPOINT", "nowhere")]), ["DPG_SCORING_ENDPOINT"]);
}

#[test]
fn the_folder_of_the_server_programs_is_a_setting() {
    assert_eq!(parse(&development()).unwrap().pg_bin, None);
    let config = parse_with(development(), &[("PG_BIN", "/opt/pg/bin")]).unwrap();
    assert_eq!(config.pg_bin, Some(PathBuf::from("/opt/pg/bin")));
}

#[test]
fn nothing_prints_a_secret() {
    let secrets = [
        ("AUTH_SECRET", "hidden-auth"),
        ("ADMIN_KEY", "hidden-admin"),
        ("POSTGRES_URL", "postgres://dpg:hidden-postgres@db/dpg"),
        ("POSTGRES_PASSWORD", "hidden-password"),
        ("REDIS_URL", "redis://:hidden-redis@cache"),
        ("REDIS_PASSWORD", "hidden-redis"),
        ("PEER_PRIVATE_KEY", SEED),
        ("NOTIFICATION_SERVICE_SECRET", "hidden-notification"),
        ("DPG_SCORING_SECRET", "hidden-scoring"),
    ];
    let mut variables = production();
    variables.extend(secrets);
    let config = format!("{:?}", parse(&variables).unwrap());
    let rows = describe(&|name| variables.get(name).map(|text| (*text).to_owned()));
    let printed = format!("{config}{rows:?}");
    assert!(!printed.contains("hidden") && !printed.contains(SEED), "{printed}");
    let url = rows.iter().find(|row| row.name == "POSTGRES_URL").unwrap();
    assert_eq!(url.value, "postgres://dpg:********@db/dpg");
    let parameters = describe(&|name| (name == "POSTGRES_URL").then(|| "postgres://db/d?password=hidden".to_owned()));
    assert!(!format!("{parameters:?}").contains("hidden"));
}

#[test]
fn the_table_tells_every_setting_with_its_value_in_force() {
    let rows = describe(&|name| development().get(name).map(|text| (*text).to_owned()));
    assert_eq!(rows.len(), ALL.len());
    let row = |name| rows.iter().find(|row| row.name == name).unwrap();
    assert_eq!((row("API_PORT").value.as_str(), row("API_PORT").given), ("2742", false));
    assert_eq!((row("INSTANCE_NAME").value.as_str(), row("INSTANCE_NAME").given), ("instance-a", true));
    assert_eq!(row("INSTANCE_NAME").default, "required");
    assert_eq!(row("TRUSTED_PROXIES").value, "127.0.0.0/8,::1/128");
    assert_eq!(row("ADMIN_KEY").value, "");
    assert_eq!(row("PG_BIN").value, "");
    assert!(row("RUST_LOG").value.starts_with("info"));
}

#[test]
fn the_env_file_stands_behind_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    assert_eq!(Environment::with_file(&path).unwrap().get("DPG_TEST_ONLY_IN_FILE"), None);
    std::fs::write(&path, "# a comment\nDPG_TEST_ONLY_IN_FILE='from file'\nPATH=nowhere\n").unwrap();
    let environment = Environment::with_file(&path).unwrap();
    assert_eq!(environment.get("DPG_TEST_ONLY_IN_FILE").as_deref(), Some("from file"));
    assert_ne!(environment.get("PATH").as_deref(), Some("nowhere"));
    std::fs::write(&path, "AUTH_SECRET=\"hidden\nnext\n").unwrap();
    let problem = Environment::with_file(&path).unwrap_err();
    assert!(!problem.message.contains("hidden"), "{problem}");
}

#[test]
fn remote_contracts_are_named_by_a_mapping_or_below_a_registry() {
    let urls = |more: &[(&'static str, &'static str)]| {
        let more = [&[("NETWORK_CONFIG_SOURCE", "remote")], more].concat();
        parse_with(development(), &more).map(|config| {
            let urls = config.contract_urls.into_iter();
            urls.map(|(network, url)| format!("{network} {url}")).collect::<Vec<_>>()
        })
    };
    let mapping = "a=https://r.example/x.json?v=1, b = http://r.example/b/ ,c=https://r.example";
    let expected =
        ["a https://r.example/x.json?v=1", "b http://r.example/b/network.json", "c https://r.example/network.json"];
    assert_eq!(urls(&[("NETWORK_CONFIG_URLS", mapping), ("SCHEMA_REGISTRY_URL", "https://other")]).unwrap(), expected);
    assert_eq!(urls(&[("SCHEMA_REGISTRY_URL", mapping)]).unwrap(), expected);
    for base in ["https://r.example/registry", "https://r.example/registry/"] {
        let expected = ["yellow_dot https://r.example/registry/yellow_dot/network.json"];
        assert_eq!(urls(&[("SCHEMA_REGISTRY_URL", base)]).unwrap(), expected);
    }
    let refused = |more: &[_]| {
        let problems = urls(more).unwrap_err();
        problems.into_iter().map(|problem| problem.variable).collect::<Vec<_>>()
    };
    assert_eq!(refused(&[]), ["NETWORK_CONFIG_SOURCE"]);
    let bad = "a=ftp://x,=https://x,https://x,a=https://x,a=https://y,";
    assert_eq!(refused(&[("NETWORK_CONFIG_URLS", bad)]), ["NETWORK_CONFIG_URLS"; 5]);
    assert_eq!(refused(&[("SCHEMA_REGISTRY_URL", "nowhere")]), ["SCHEMA_REGISTRY_URL"]);
    // A local source does not look at them.
    assert_eq!(parse_with(development(), &[("NETWORK_CONFIG_URLS", bad)]).unwrap().contract_urls, []);
}
