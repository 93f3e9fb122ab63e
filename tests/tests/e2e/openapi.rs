//! The OpenAPI document and its explorer as they are served.

use dpg_tests::network::{NETWORK, PROFILE, STUDENT, TUTOR};
use dpg_tests::openapi::Document;
use dpg_tests::{Node, Pair};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_describes_itself_and_what_it_serves() {
    let pair = Pair::start().await;
    for (node, domain) in [(&pair.student, STUDENT), (&pair.tutor, TUTOR)] {
        let answer = node.process.client().get("/api/v1/openapi.json").send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(answer.body["openapi"], "3.1.0");
        assert_eq!(answer.body["servers"][0]["url"], json!(node.instance.url));
        let served = answer.body["components"]["schemas"]["ServedNewItem"]["oneOf"].as_array().expect("types").clone();
        let name = format!("NewItem.{NETWORK}.{domain}.{PROFILE}");
        assert_eq!(served, [json!({"$ref": format!("#/components/schemas/{name}")})]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_makes_of_the_document_is_accepted() {
    let node = Node::both().await;
    let user = node.sign_up("asha").await;
    let document = Document::of(&user).await;
    let create = document.operation("createItem");
    let schema = &create.described["requestBody"]["content"]["application/json"]["schema"];
    let student = json!({"item_network": NETWORK, "item_domain": STUDENT, "item_type": PROFILE, "item_state": {"name": "Asha", "guardian": "Ravi"}});
    assert!(document.validator(schema).is_valid(&student));
    let answer = user.post("/api/v1/item/create").json(&student).send().await.expect(201);
    assert_eq!(document.faults(&create, &answer), [""; 0]);
    for (state, path) in
        [(json!({"city": "Pune"}), "/item_state"), (json!({"name": "Asha", "guardian": 1}), "/item_state/guardian")]
    {
        let mut wrong = student.clone();
        wrong["item_state"] = state;
        assert!(!document.validator(schema).is_valid(&wrong), "{wrong}");
        let answer = user.post("/api/v1/item/create").json(&wrong).send().await;
        answer.expect_error(400, "INVALID_ITEM_STATE");
        assert_eq!(answer.body["details"][0]["path"], path);
        assert_eq!(document.faults(&create, &answer), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_method_is_among_those_that_its_path_allows() {
    let node = Node::both().await;
    let client = node.process.client();
    for operation in Document::of(&client).await.operations() {
        let path = operation.path.replace(['{', '}'], "");
        let answer = client.request(reqwest::Method::OPTIONS, &path).send().await;
        if answer.status == 404 {
            // Which of them may be missing stands in the crate's own test.
            continue;
        }
        let answer = answer.expect(204);
        let allowed: Vec<&str> = answer.header("allow").expect("allow").split(", ").collect();
        assert!(allowed.contains(&operation.method.as_str()), "{} {allowed:?}", operation.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_explorer_loads_nothing_from_other_hosts() {
    let node = Node::both().await;
    let client = node.process.client();
    let page = client.get("/api/reference").send().await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!page.text.contains("//"), "an address of another host: {}", page.text);
    let files: Vec<&str> = page.text.split('"').filter(|text| text.starts_with("/api/reference/")).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let answer = client.get(file).send().await.expect(200);
        let expected =
            if file.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        assert_eq!(answer.header("content-type"), Some(expected), "{file}");
        assert!(!answer.text.is_empty());
    }
    assert!(page.text.contains("<noscript>"), "readers without scripts are told of the document: {}", page.text);
    let start = client.get("/api/reference/start.js").send().await.expect(200).text;
    assert!(start.contains("\"/api/v1/openapi.json\"") && start.contains("validatorUrl: null"), "{start}");
    client.get("/api/reference/index.html").send().await.expect_error(404, "NOT_FOUND");
    client.get("/api/reference/").send().await.expect_error(404, "NOT_FOUND");
}
