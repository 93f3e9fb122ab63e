//! Item types that actions speak about and that nobody defines: such an action could never be performed.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::compile::Draft;
use super::places::{keys, list};
use super::pointer::{index, join};
use super::report::Report;

/// The types of each loaded network and domain.
type Known<'d> = HashMap<&'d str, HashMap<&'d str, HashSet<&'d str>>>;

/// Reports every type of an interaction that its domain does not define, as far as its network is loaded.
pub(super) fn check_item_types(drafts: &[Draft<'_>], report: &mut Report) {
    let known: Known<'_> = drafts.iter().map(|draft| (draft.id.as_str(), types_of(draft))).collect();
    for draft in drafts {
        report.enter(&draft.prefix);
        let actions = draft.normalised.get("actions").and_then(Value::as_object);
        for (action_type, action) in actions.into_iter().flatten() {
            let at = join(&join("/actions", action_type), "interactions");
            for (position, interaction) in list(action, "interactions").iter().enumerate() {
                for side in ["from", "to"] {
                    check_side(interaction, side, &index(&at, position), &known, report);
                }
            }
        }
    }
    report.enter("");
}

fn check_side(interaction: &Value, side: &str, at: &str, known: &Known<'_>, report: &mut Report) {
    let text = |key: &str| interaction.get(format!("{side}_{key}")).and_then(Value::as_str);
    let (Some(network), Some(domain)) = (text("network"), text("domain")) else { return };
    let Some(domains) = known.get(network) else { return };
    let types = domains.get(domain);
    if types.is_none() {
        let message = format!("{network} defines no domain {domain:?}, so this interaction is never used");
        report.warning(&join(at, &format!("{side}_domain")), message);
    }
    let items = format!("{side}_items");
    for (position, item_type) in list(interaction, &items).iter().enumerate() {
        let name = item_type.as_str().unwrap_or_default();
        if !types.is_some_and(|types| types.contains(name)) {
            let message = format!("{network}/{domain} defines no item type {name:?}");
            report.problem(&index(&join(at, &items), position), message);
        }
    }
}

fn types_of<'d>(draft: &'d Draft<'_>) -> HashMap<&'d str, HashSet<&'d str>> {
    let mut types: HashMap<&str, HashSet<&str>> = HashMap::new();
    for domain in list(&draft.normalised, "domains") {
        if let Some(id) = domain.get("id").and_then(Value::as_str) {
            types.entry(id).or_default().extend(keys(domain.get("item_schemas")));
        }
    }
    for instance in &draft.instances {
        if let Some(types) = types.get_mut(instance.domain_id.as_str()) {
            types.extend(instance.custom_item_schema_urls.keys().map(String::as_str));
        }
    }
    types
}
