//! The schemas that single instances use instead of their domain's (CONTRACT 7.3, 8.1). Ours decide what *create* accepts;
//! those of others are only shown to clients.

use serde_json::Value;

use super::compile::Builder;
use super::instances::Instance;
use super::item_type::ItemType;
use super::library::{Lost, parse};
use super::network::Domain;
use super::pointer::join;
use super::report::Weight;
use super::self_contained::{SelfContained, Wanted, self_contained};

/// A custom schema that is there.
#[derive(Debug)]
pub(super) struct Custom {
    pub(super) domain: String,
    pub(super) item_type: String,
    /// Spelling of the instance's URL that the contract registers.
    pub(super) instance_url: String,
    /// Where the schema is, as the contract writes it.
    pub(super) url: String,
    /// The document that it is in, if that was fetched.
    pub(super) document: Option<String>,
    /// The schema as clients see it.
    pub(super) emitted: Value,
}

impl Builder<'_, '_> {
    /// Resolves every custom schema; ours take their places in the domains.
    pub(super) fn customs(&mut self, domains: &mut [Domain]) -> Vec<Custom> {
        let mut customs = Vec::new();
        for instance in self.network.instances.iter() {
            let own = self.is_own(instance);
            for (item_type, url) in &instance.custom_item_schema_urls {
                let found = self.custom(instance, item_type, url, own);
                if own && let Some(domain) = domains.iter_mut().find(|domain| domain.id == instance.domain_id) {
                    let compiled = found.as_ref().map(|(_, schema)| self.compile_custom(item_type, url, schema));
                    domain.put_custom(item_type, compiled.flatten());
                }
                customs.extend(found.map(|(document, schema)| Custom {
                    domain: instance.domain_id.clone(),
                    item_type: item_type.clone(),
                    instance_url: instance.url.as_str().to_owned(),
                    url: url.clone(),
                    document,
                    emitted: schema.emitted,
                }));
            }
        }
        customs
    }

    fn is_own(&self, instance: &Instance) -> bool {
        instance.url == self.options.own_url && self.serves(&instance.domain_id)
    }

    /// The schema, and the URL of the document that it is in, if that was fetched.
    fn custom(
        &mut self,
        instance: &Instance,
        item_type: &str,
        url: &str,
        own: bool,
    ) -> Option<(Option<String>, SelfContained)> {
        let (parsed, fragment) = parse(url)?;
        let shown = format!("{}{}", self.network.prefix, join(&instance.custom_urls_at(), item_type));
        // One that can't be had does not keep us from starting: only this type has to wait for it.
        let weight = if own { Weight::Problem } else { Weight::Warning };
        let holder = match self.library.entry(&parsed, &fragment) {
            Ok(holder) => holder,
            Err(Lost::Missing) => {
                let told = if self.report.strict { weight } else { Weight::Warning };
                self.report.missing(told, &parsed, shown);
                self.report.want(weight, &parsed);
                return None;
            }
            Err(Lost::Dead) => {
                self.report.add_at(weight, shown, format!("{url:?} points to nothing in its document"));
                return None;
            }
            Err(Lost::Own) => {
                self.report.add_at(
                    Weight::Warning,
                    shown,
                    format!("{url} is our own URL, where no such schema is served"),
                );
                return None;
            }
        };
        let at = fragment.as_str();
        let wanted = Wanted { holder, network: self.number, at: (at, at), weight, dead: weight };
        let schema = self_contained(self.library, &wanted, self.report)?;
        self.taken_from.extend(&schema.taken_from);
        if !fragment.is_empty() {
            self.taken_from.insert(holder.document);
        }
        Some((self.library.named(holder.document).map(str::to_owned), schema))
    }

    fn compile_custom(&mut self, item_type: &str, url: &str, schema: &SelfContained) -> Option<ItemType> {
        let compiled = ItemType::compile(item_type, url.to_owned(), schema, self.options.allow_extra);
        compiled.map_err(|error| self.report_compile_at(&error, Weight::Problem, url)).ok()
    }
}

impl Domain {
    /// Makes a custom schema the one that *create* uses, or takes the type's away when it can't be had.
    fn put_custom(&mut self, name: &str, custom: Option<ItemType>) {
        self.item_types.retain(|known| known.name() != name);
        let listed = self.type_names.iter().any(|known| known == name);
        match custom {
            None => self.unreachable.push(name.to_owned()),
            Some(custom) if listed => self.item_types.push(custom),
            Some(custom) => self.unlisted.push(custom),
        }
    }
}
