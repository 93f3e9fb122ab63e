//! The instances a network registers (CONTRACT 7.3): one entry per domain and URL, aliases folded.

use std::collections::BTreeMap;

use dpg_mirror::signature::PublicKey;
use serde_json::Value;

use super::instance_url::InstanceUrl;
use super::pointer::{index, join};
use super::report::Report;

/// An instance, registered for one domain.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Domain it serves.
    pub domain_id: String,
    /// Label of the first entry that has one.
    pub name: Option<String>,
    /// First registered spelling: the one that is called.
    pub url: InstanceUrl,
    /// The origins of all its spellings: to a browser, aliases of one host are different origins.
    pub origins: Vec<String>,
    /// `public_key` and `public_keys` of all its entries, as written. A key that can't be read is kept: an instance that
    /// has one must not pass for an instance without.
    pub public_keys: Vec<String>,
    /// Custom schema per item type.
    pub custom_item_schema_urls: BTreeMap<String, String>,
    /// Pointer of its first entry.
    at: String,
}

impl Instance {
    /// Pointer of the first entry's custom schemas.
    pub(super) fn custom_urls_at(&self) -> String {
        join(&self.at, "custom_item_schema_urls")
    }
}

/// Instances of a normalised document, in its order.
pub(super) fn read_instances(document: &Value, report: &mut Report) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    let entries = document.get("instances").and_then(Value::as_array);
    for (position, entry) in entries.into_iter().flatten().enumerate() {
        let at = index("/instances", position);
        let Some(instance) = read_instance(entry, &at) else { continue };
        for key in &instance.public_keys {
            if let Err(error) = PublicKey::parse(key) {
                let message = format!("the public key {key:?} proves nothing that this instance signs: {error}");
                report.warning(&at, message);
            }
        }
        if let Some(other) = instances.iter().find(|other| other.url.differs_only_by_path(&instance.url)) {
            let message =
                format!("{} and {} differ only by path, so they can't be told apart", other.url, instance.url);
            report.problem(&join(&at, "instance_url"), message);
            continue;
        }
        match instances.iter_mut().find(|other| other.domain_id == instance.domain_id && other.url == instance.url) {
            Some(first) => fold(first, instance, &at, report),
            None => instances.push(instance),
        }
    }
    instances
}

/// `None` for an entry whose faults have been reported already.
fn read_instance(entry: &Value, at: &str) -> Option<Instance> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let list = entry.get("public_keys").and_then(Value::as_array);
    let keys = text("public_key").into_iter().chain(list.into_iter().flatten().filter_map(Value::as_str));
    let mut public_keys: Vec<String> = Vec::new();
    for key in keys {
        if !public_keys.iter().any(|known| known == key) {
            public_keys.push(key.to_owned());
        }
    }
    let custom = entry.get("custom_item_schema_urls").and_then(Value::as_object);
    let url = InstanceUrl::parse(text("instance_url")?).ok()?;
    Some(Instance {
        domain_id: text("domain_id")?.to_owned(),
        name: text("instance_name").map(str::to_owned),
        origins: vec![url.origin().to_owned()],
        url,
        public_keys,
        custom_item_schema_urls: custom
            .into_iter()
            .flatten()
            .filter_map(|(item_type, url)| Some((item_type.clone(), url.as_str()?.to_owned())))
            .collect(),
        at: at.to_owned(),
    })
}

fn fold(first: &mut Instance, again: Instance, at: &str, report: &mut Report) {
    if first.custom_item_schema_urls != again.custom_item_schema_urls {
        let message = "names other custom schemas than an earlier entry of the same domain and URL";
        report.problem(&join(at, "custom_item_schema_urls"), message);
    }
    if let (Some(name), Some(other)) = (&first.name, &again.name)
        && name != other
    {
        report.warning(&join(at, "instance_name"), format!("an earlier entry calls this instance {name:?}"));
    }
    first.name = first.name.take().or(again.name);
    for origin in again.origins {
        if !first.origins.contains(&origin) {
            first.origins.push(origin);
        }
    }
    for key in again.public_keys {
        if !first.public_keys.contains(&key) {
            first.public_keys.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn read(entries: &Value) -> (Vec<Instance>, Report) {
        let mut report = Report::default();
        (read_instances(&json!({ "instances": entries }), &mut report), report)
    }

    #[test]
    fn one_instance_under_two_spellings_is_one() {
        let (instances, report) = read(&json!([
            {"domain_id": "a", "instance_url": "http://127.0.0.1:1/", "instance_name": "A", "public_key": KEY},
            {"domain_id": "b", "instance_url": "http://127.0.0.1:1"},
            {"domain_id": "a", "instance_url": "http://LOCALHOST:1", "instance_name": "B", "public_keys": ["ed25519:x", KEY]}
        ]));
        assert_eq!(instances.len(), 2);
        assert_eq!(instances[0].url.as_str(), "http://127.0.0.1:1");
        assert_eq!(instances[0].origins, ["http://127.0.0.1:1", "http://localhost:1"]);
        assert_eq!(instances[0].public_keys, [KEY, "ed25519:x"]);
        assert_eq!(instances[0].name.as_deref(), Some("A"));
        assert!(report.problems.is_empty());
        let paths: Vec<_> = report.warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert_eq!(paths, ["/instances/2", "/instances/2/instance_name"]);
    }

    #[test]
    fn entries_that_contradict_each_other_are_refused() {
        let (_, report) = read(&json!([
            {"domain_id": "a", "instance_url": "https://a.example/one"},
            {"domain_id": "b", "instance_url": "https://a.example/two"},
            {"domain_id": "a", "instance_url": "https://a.example/one/", "custom_item_schema_urls": {"t": "https://s.example/t"}}
        ]));
        let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["/instances/1/instance_url", "/instances/2/custom_item_schema_urls"]);
    }
}
