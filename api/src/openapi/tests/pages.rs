//! Pages of `docs/` that are made from the code: they are written by `DPG_WRITE_DOCS=1 cargo test -p dpg-api --lib openapi`
//! and compared by the same test without the variable.

use std::collections::BTreeMap;

use super::super::errors::CODES;
use super::super::operation::Operation;
use super::super::operations;
use super::{root, sources};
use crate::config::settings;

#[test]
fn the_page_of_error_codes_is_up_to_date() {
    fresh("docs/errors.md", |_| errors(&operations::all()));
}

#[test]
fn the_operators_page_has_every_setting_and_every_metric() {
    fresh("docs/operator.md", |page| {
        let page = with_table(page, "settings", &settings_table());
        with_table(&page, "metrics", &metrics_table())
    });
}

/// The page with a table between the comments of this name.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (start, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&start).expect("the start of the table");
    let (_, after) = rest.split_once(&end).expect("the end of the table");
    format!("{before}{start}\n{table}{end}{after}")
}

fn settings_table() -> String {
    let mut table = "| variable | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for row in settings::describe(&|_| None) {
        table.push_str(&format!("| `{}` | {} | {} |\n", row.name, row.default.replace('|', "\\|"), row.meaning));
    }
    table
}

/// Every metric has its name and its help side by side in the sources.
fn metrics_table() -> String {
    let mut metrics = BTreeMap::new();
    for room in ["api", "eventstore", "projector", "mirror"] {
        for source in sources(&root().join(room).join("src")) {
            let texts: Vec<&str> = source.split('"').skip(1).step_by(2).collect();
            for pair in texts.windows(2) {
                let named = pair[0].starts_with("dpg_") && pair[0].bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                if named && pair[1].ends_with('.') && pair[1].contains(' ') {
                    metrics.insert(pair[0].to_owned(), pair[1].to_owned());
                }
            }
        }
    }
    let mut table = "| metric | meaning |\n| --- | --- |\n".to_owned();
    for (name, help) in metrics {
        table.push_str(&format!("| `{name}` | {help} |\n"));
    }
    table
}

/// A generated page as it should be; with `DPG_WRITE_DOCS` it is written.
fn fresh(page: &str, expected: impl FnOnce(&str) -> String) {
    let path = root().join(page);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = expected(&found);
    if std::env::var_os("DPG_WRITE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(found == expected, "{page} is stale: DPG_WRITE_DOCS=1 cargo test -p dpg-api --lib openapi");
    }
}

/// `docs/errors.md`.
fn errors(operations: &[Operation]) -> String {
    let mut routes: BTreeMap<(u16, &str), Vec<String>> = BTreeMap::new();
    for operation in operations {
        for refusal in operation.refusals() {
            let label = format!("`{} {}`", operation.method.to_uppercase(), operation.path);
            routes.entry(refusal).or_default().push(label);
        }
    }
    let mut page = INTRODUCTION.to_owned();
    for code in CODES {
        let where_from = routes.get(&(code.status, code.code)).map_or_else(String::new, |labels| {
            if labels.len() > MANY { format!("{} routes", labels.len()) } else { labels.join("<br>") }
        });
        let where_from = if where_from.is_empty() { "any path".to_owned() } else { where_from };
        page.push_str(&format!("| {} | `{}` | {} | {where_from} |\n", code.status, code.code, code.meaning));
    }
    page
}

/// More routes than this are counted instead of listed.
const MANY: usize = 8;

const INTRODUCTION: &str = "\
# Error codes

Generated from `api/src/openapi/errors.rs`; a test fails when this page is stale, and
`DPG_WRITE_DOCS=1 cargo test -p dpg-api --lib openapi` writes it again.

A refusal is JSON. `error` is the stable code, `message` is for people and may change, `request_id` is also in the header
`x-request-id` and in the server's log. `details` lists the faults of a request, each with a JSON Pointer.

```json
{\"error\":\"VALIDATION_ERROR\",\"message\":\"1 field is not valid.\",\"request_id\":\"5f0c8d1e\",
 \"details\":[{\"path\":\"/item_latitude\",\"message\":\"must be between -90 and 90\"}]}
```

Where a user's credentials are refused (401, 403, 429 of a user's or an operator's route), the code is in `code` and
`error` is the status in words. Peers' credentials and everything under `/api/auth` have it in both. So a client reads
`code` first, and `error` where there is none.

A 4xx changes nothing and is not repeated unchanged, but for 409, 412 and 429. A 5xx and a lost connection may be
repeated: with the same `idempotency-key` nothing happens twice.

| status | code | meaning | routes |
| --- | --- | --- | --- |
";
