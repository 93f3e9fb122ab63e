//! Makes a [`Network`] of a normalised document: every schema is made self-contained and compiled, every fault reported
//! with the weight that its place has for this instance.

use std::collections::HashMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::LoadOptions;
use super::event_schema::{EventSchema, property_names};
use super::instances::{Instance, read_instances};
use super::interaction::Interaction;
use super::item_type::ItemType;
use super::lifecycle::{Lifecycle, named_statuses};
use super::network::{Action, Domain, Network};
use super::pointer::{index, join};
use super::references::References;
use super::report::{Report, Weight};
use super::self_contained::{Document, SelfContained};
use super::validator::{CompileError, Validator};

/// What a path segment of a schema URL keeps as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Network {
    /// Builds the network from the `original` document and its normalised form. What is wrong goes to `report`; what
    /// is not usable is left out.
    pub(super) fn build(original: Value, normalised: Value, options: &LoadOptions, report: &mut Report) -> Self {
        let id = text(&normalised, "id");
        let instances = read_instances(&normalised, report);
        let source_url = normalised.get("source_url").and_then(Value::as_str).map(str::to_owned);
        let mut builder = Builder {
            id: &id,
            source_url: source_url.as_deref(),
            original: &original,
            normalised: &normalised,
            instances: &instances,
            options,
            schemas: HashMap::new(),
            report,
        };
        builder.resolve_schemas();
        let domains = builder.domains();
        let actions = builder.actions();
        let resolved = std::mem::take(&mut builder.schemas);
        let mut document = normalised;
        for (at, schema) in resolved {
            if let Some(slot) = document.pointer_mut(&at) {
                *slot = schema.emitted;
            }
        }
        Self { id, source_url, original, document, domains, instances, actions }
    }
}

struct Builder<'n> {
    id: &'n str,
    source_url: Option<&'n str>,
    original: &'n Value,
    normalised: &'n Value,
    instances: &'n [Instance],
    options: &'n LoadOptions,
    /// Self-contained schemas by their pointer.
    schemas: HashMap<String, SelfContained>,
    report: &'n mut Report,
}

impl Builder<'_> {
    fn resolve_schemas(&mut self) {
        let places = self.schema_places();
        let pointers: Vec<String> = places.iter().map(|(at, ..)| at.clone()).collect();
        let document = Document::new(self.normalised, &pointers);
        // Defaults are reported where they take effect.
        let mut unheard = Report::default();
        for (at, shown_at, weight) in places {
            let report = if is_default_schema(&at) { &mut unheard } else { &mut *self.report };
            if let Some(schema) = document.self_contained(&at, &shown_at, weight, report) {
                self.schemas.insert(at, schema);
            }
        }
    }

    /// Pointer of every schema, where an operator finds it, and how much its faults weigh.
    fn schema_places(&self) -> Vec<(String, String, Weight)> {
        let mut places = Vec::new();
        for (position, domain) in list(self.normalised, "domains").iter().enumerate() {
            let weight = self.weight_in(&text(domain, "id"));
            for key in ["item_schemas", "default_item_schemas"] {
                let at = join(&index("/domains", position), key);
                for item_type in keys(domain.get(key)) {
                    places.push((join(&at, item_type), self.shown_schema(position, item_type), weight));
                }
            }
        }
        for action_type in keys(self.normalised.get("actions")) {
            let at = join(&join("/actions", action_type), "interactions");
            let interactions = self.normalised.pointer(&at).and_then(Value::as_array).map_or(0, Vec::len);
            for position in 0..interactions {
                for key in ["requirement_schema", "event_schema"] {
                    let at = join(&index(&at, position), key);
                    places.push((at.clone(), at, Weight::Problem));
                }
            }
        }
        places.retain(|(at, ..)| {
            self.normalised.pointer(at).is_some_and(|schema| schema.is_object() || schema.is_boolean())
        });
        places
    }

    /// A schema that a domain takes from its defaults stands there in the operator's file.
    fn shown_schema(&self, domain: usize, item_type: &str) -> String {
        let at = |key| join(&join(&index("/domains", domain), key), item_type);
        let own = at("item_schemas");
        if self.original.pointer(&own).is_some() { own } else { at("default_item_schemas") }
    }

    fn weight_in(&self, domain: &str) -> Weight {
        if self.serves(domain) { Weight::Problem } else { Weight::Warning }
    }

    fn serves(&self, domain: &str) -> bool {
        self.options.served.iter().any(|binding| binding.network == self.id && binding.domain == domain)
    }

    fn domains(&mut self) -> Vec<Domain> {
        let mut domains: Vec<Domain> = Vec::new();
        for (position, domain) in list(self.normalised, "domains").iter().enumerate() {
            let id = text(domain, "id");
            if domains.iter().any(|known| known.id == id) {
                self.report
                    .problem(&join(&index("/domains", position), "id"), format!("the domain {id:?} is defined twice"));
            }
            let type_names: Vec<String> = keys(domain.get("item_schemas")).map(str::to_owned).collect();
            let item_types = type_names.iter().filter_map(|name| self.item_type(position, &id, name)).collect();
            let minimum_cache_ttl_seconds =
                domain.get("minimum_cache_ttl_seconds").and_then(Value::as_u64).unwrap_or_default();
            domains.push(Domain { id, minimum_cache_ttl_seconds, type_names, item_types });
        }
        self.check_instance_domains(&domains);
        domains
    }

    fn check_instance_domains(&mut self, domains: &[Domain]) {
        for instance in self.instances {
            if !domains.iter().any(|domain| domain.id == instance.domain_id) {
                let message = format!(
                    "{} is registered for the domain {:?}, which is not defined",
                    instance.url, instance.domain_id
                );
                self.report.warning("/instances", message);
            }
            let own = instance.url == self.options.own_url && self.serves(&instance.domain_id);
            for (item_type, url) in &instance.custom_item_schema_urls {
                let weight = if own && *url != self.own_schema_url(&instance.domain_id, item_type) {
                    Weight::Problem
                } else {
                    Weight::Warning
                };
                if !own || weight == Weight::Problem {
                    let message = format!("the custom schema of {item_type:?} at {url} is not fetched by this version");
                    self.report.add(weight, "/instances", message);
                }
            }
        }
    }

    fn item_type(&mut self, position: usize, domain: &str, name: &str) -> Option<ItemType> {
        let at = join(&join(&index("/domains", position), "item_schemas"), name);
        let compiled =
            ItemType::compile(name, self.schema_url(domain, name), self.schemas.get(&at)?, self.options.allow_extra);
        match compiled {
            Ok(item_type) => Some(item_type),
            Err(error) => {
                self.report_compile(&error, self.weight_in(domain), &self.shown_schema(position, name));
                None
            }
        }
    }

    /// What items of this type carry as `item_schema_url` (CONTRACT 8.1).
    fn schema_url(&self, domain: &str, item_type: &str) -> String {
        let own = self.own_schema_url(domain, item_type);
        let custom = self.instances.iter().any(|instance| {
            instance.url == self.options.own_url
                && instance.domain_id == domain
                && instance.custom_item_schema_urls.get(item_type) == Some(&own)
        });
        match self.source_url {
            Some(source) if !custom => domain_schema_url(source, self.id, domain, item_type),
            _ => own,
        }
    }

    fn own_schema_url(&self, domain: &str, item_type: &str) -> String {
        format!("{}/api/v1/network/schema/{}", self.options.own_url, segments(self.id, domain, item_type))
    }

    fn actions(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (action_type, action) in self.normalised.get("actions").and_then(Value::as_object).into_iter().flatten() {
            let at = join("/actions", action_type);
            let lifecycle = Arc::new(Lifecycle::of(action.get("lifecycle").filter(|lifecycle| lifecycle.is_object())));
            let mut interactions = Vec::new();
            for (position, interaction) in list(action, "interactions").iter().enumerate() {
                let interaction_at = index(&join(&at, "interactions"), position);
                let built = self.interaction(interaction, &interaction_at, &lifecycle);
                if let Some(interaction) = built {
                    self.check_statuses(&interaction, &at, position);
                    interactions.push(interaction);
                }
            }
            actions.push(Action { action_type: action_type.clone(), interactions });
        }
        actions
    }

    fn interaction(&mut self, interaction: &Value, at: &str, lifecycle: &Arc<Lifecycle>) -> Option<Interaction> {
        let allow_extra = self.options.allow_extra;
        let requirement_at = join(at, "requirement_schema");
        let requirement = &self.schemas.get(&requirement_at)?.compiled;
        let requirement_names = property_names(requirement, &References::new(requirement, ""));
        let requirements = Validator::compile(requirement, allow_extra);
        let event_at = join(at, "event_schema");
        let event =
            self.schemas.get(&event_at).map(|schema| EventSchema::compile(&schema.compiled, allow_extra)).transpose();
        if let Err(error) = &requirements {
            self.report_compile(error, Weight::Problem, &requirement_at);
        }
        if let Err(error) = &event {
            self.report_compile(error, Weight::Problem, &event_at);
        }
        let to_network = text(interaction, "to_network");
        if to_network != self.id {
            let message = "an action is declared in the target's network, so this interaction is never used";
            self.report.warning(&join(at, "to_network"), message);
        }
        Some(Interaction {
            from_network: text(interaction, "from_network"),
            from_domain: text(interaction, "from_domain"),
            from_items: texts(interaction, "from_items"),
            to_network,
            to_domain: text(interaction, "to_domain"),
            to_items: texts(interaction, "to_items"),
            requirements: requirements.ok()?,
            requirement_names,
            event: event.ok()?.flatten(),
            lifecycle: Arc::clone(lifecycle),
        })
    }

    /// A lifecycle that names a status outside the interaction's `enum` can't be followed.
    fn check_statuses(&mut self, interaction: &Interaction, action_at: &str, position: usize) {
        let at = join(action_at, "lifecycle");
        let (Some(statuses), Some(lifecycle)) = (interaction.statuses(), self.original.pointer(&at)) else { return };
        for (status, at) in named_statuses(lifecycle, &at) {
            if !statuses.contains(&status) {
                self.report.problem(&at, format!("{status:?} is not in the status enum of interaction {position}"));
            }
        }
    }

    fn report_compile(&mut self, error: &CompileError, weight: Weight, at: &str) {
        match error {
            CompileError::UnknownDraft => self.report.add(weight, &join(at, "$schema"), error.to_string()),
            CompileError::Invalid(places) => {
                for (place, message) in places {
                    self.report.add(weight, &format!("{at}{place}"), message.clone());
                }
            }
        }
    }
}

/// URL of a domain's schema inside the document at `source_url`.
pub(super) fn domain_schema_url(source_url: &str, network: &str, domain: &str, item_type: &str) -> String {
    let source = source_url.split('#').next().unwrap_or(source_url);
    format!("{source}#/item_schemas/{}", segments(network, domain, item_type))
}

fn segments(network: &str, domain: &str, item_type: &str) -> String {
    [network, domain, item_type].map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).join("/")
}

fn is_default_schema(at: &str) -> bool {
    at.split('/').nth(3) == Some("default_item_schemas")
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(object: &Value, key: &str) -> Vec<String> {
    list(object, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list<'v>(object: &'v Value, key: &str) -> &'v [Value] {
    object.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn keys(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::keys).map(String::as_str)
}
