//! The examples of `docs/` as a reader would run them: the shell blocks of a page, one after the other in one shell,
//! against real instances. What a `json` block shows after a shell block is the shape of what that block must print last.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use dpg_tests::network::{STUDENT, TUTOR};
use dpg_tests::pair::PairOptions;
use dpg_tests::{Contract, Node, Pair};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Stands between the outputs of two blocks.
const MARK: &str = "-- next block --";

/// A shell block, the line it starts at, and the answer shown after it.
struct Example {
    line: usize,
    script: String,
    shown: Option<Value>,
}

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

fn examples(name: &str) -> Vec<Example> {
    let text = std::fs::read_to_string(page(name)).expect("a page");
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        match language {
            "sh" => examples.push(Example { line: at + 2, script: block.join("\n"), shown: None }),
            "json" => {
                let shown = serde_json::from_str(&block.join("\n"))
                    .unwrap_or_else(|error| panic!("{name}:{}: {error}", at + 1));
                examples.last_mut().expect("a shell block before it").shown = Some(shown);
            }
            _ => {}
        }
    }
    assert!(!examples.is_empty(), "{name} has no examples");
    examples
}

/// The contract that ships with the project, without its instances.
fn shipped() -> Contract {
    let text = std::fs::read_to_string(page("../deploy/example/network.json")).expect("the example contract");
    let mut shipped: Value = serde_json::from_str(&text).expect("JSON");
    shipped["instances"] = json!([]);
    Contract::new().edit(|document| *document = shipped)
}

async fn run(name: &str, directory: &Path, environment: &[(&str, String)]) {
    let examples = examples(name);
    let scripts: Vec<&str> = examples.iter().map(|example| example.script.as_str()).collect();
    let script = scripts.join(&format!("\nprintf '\\n{MARK}\\n'\n"));
    let mut command = tokio::process::Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    command.env_clear().env("PATH", std::env::var("PATH").expect("a path"));
    command.envs(environment.iter().map(|(name, value)| (*name, value.as_str())));
    let output: Output = command.output().await.expect("bash can be started");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let printed: Vec<&str> = text.split(MARK).collect();
    let last = examples.get(printed.len() - 1).expect("no more outputs than blocks");
    assert!(output.status.success(), "docs/{name}:{} ends the script: {errors}\n{text}", last.line);
    assert_eq!(printed.len(), examples.len(), "{errors}\n{text}");
    for (example, printed) in examples.iter().zip(printed) {
        let Some(shown) = &example.shown else { continue };
        let answer = printed.trim().lines().next_back().unwrap_or_default();
        let answer: Value = serde_json::from_str(answer)
            .unwrap_or_else(|error| panic!("docs/{name}:{}: {error}: {printed}", example.line));
        let mut differences = Vec::new();
        compare("", shown, &answer, &mut differences);
        assert!(differences.is_empty(), "docs/{name}:{}: {differences:?}: {answer}", example.line);
    }
}

/// Everything that is shown must be there, of the same type; a null says that the type may differ. More may be there.
fn compare(at: &str, shown: &Value, answer: &Value, differences: &mut Vec<String>) {
    match (shown, answer) {
        (Value::Null, _) => {}
        (Value::Object(shown), Value::Object(answer)) => {
            for (name, value) in shown {
                match answer.get(name) {
                    Some(found) => compare(&format!("{at}/{name}"), value, found, differences),
                    None => differences.push(format!("{at}/{name} is missing")),
                }
            }
        }
        (Value::Array(shown), Value::Array(answer)) => match (shown.first(), answer.first()) {
            (Some(shown), Some(answer)) => compare(&format!("{at}/0"), shown, answer, differences),
            (Some(_), None) => differences.push(format!("{at} is empty")),
            (None, _) => {}
        },
        (shown, answer) => {
            if std::mem::discriminant(shown) != std::mem::discriminant(answer) {
                differences.push(format!("{at} is {answer}, not like {shown}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_page_runs() {
    let pair = Pair::with(PairOptions { contract: shipped(), ..PairOptions::default() }).await;
    let directory = TempDir::new().expect("a directory");
    let environment = [("STUDENT", pair.student.instance.url.clone()), ("TUTOR", pair.tutor.instance.url.clone())];
    run("client.md", directory.path(), &environment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peers_page_runs() {
    let directory = TempDir::new().expect("a directory");
    let shell = |script: &str| {
        let output = std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(directory.path())
            .output();
        let output = output.expect("bash can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    // The key has to be in the contract before the instance starts, so it is made as the page would make it.
    let key = shell(
        "openssl genpkey -algorithm ed25519 -out peer.pem\n\
         openssl pkey -in peer.pem -pubout -outform DER | tail -c 32 | base64",
    );
    let peer = "http://127.0.0.1:9";
    let contract = shipped().instance(STUDENT, peer).instance(TUTOR, peer).edit(|document| {
        for entry in document["instances"].as_array_mut().expect("instances") {
            entry["public_key"] = json!(format!("ed25519:{key}"));
        }
    });
    let node = Node::both_with(contract, |instance| instance).await;
    let environment = [("INSTANCE", node.instance.url.clone()), ("PEER", peer.to_owned())];
    run("peer.md", directory.path(), &environment).await;
}

#[test]
fn a_link_between_pages_leads_to_one() {
    for name in ["client.md", "operator.md", "peer.md", "errors.md", "../README.md"] {
        let text = std::fs::read_to_string(page(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                let path = page(name).parent().expect("a folder").join(file);
                assert!(path.exists(), "{name}: {target} leads nowhere");
            }
        }
    }
}
