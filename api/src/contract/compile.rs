//! Makes a [`Network`] of a normalised document: every schema is made self-contained and compiled, every fault reported
//! with the weight that its place has for this instance.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use super::LoadOptions;
use super::customs::Custom;
use super::event_schema::{EventSchema, property_names};
use super::instances::{Instance, read_instances};
use super::interaction::Interaction;
use super::item_type::ItemType;
use super::library::{Library, Shelved, parse};
use super::lifecycle::{Lifecycle, named_statuses};
use super::network::{Action, Domain, Network};
use super::places::{Place, is_default, keys, list, places, schema_at};
use super::pointer::{index, join};
use super::references::References;
use super::report::{Report, Weight};
use super::self_contained::{SelfContained, Wanted, self_contained};
use super::validator::{CompileError, Validator};

/// What a path segment of a schema URL keeps as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A network document that has been read, before its schemas are resolved.
pub(super) struct Draft<'o> {
    pub(super) id: String,
    /// Stands before every path in this document.
    pub(super) prefix: String,
    pub(super) fetched: bool,
    pub(super) instances: Vec<Instance>,
    source_url: Option<String>,
    original: &'o Value,
    normalised: Value,
    places: Vec<Place>,
}

impl<'o> Draft<'o> {
    pub(super) fn new(
        prefix: String,
        fetched: bool,
        original: &'o Value,
        normalised: Value,
        report: &mut Report,
    ) -> Self {
        Self {
            id: text(&normalised, "id"),
            prefix,
            fetched,
            instances: read_instances(&normalised, report),
            source_url: normalised.get("source_url").and_then(Value::as_str).map(str::to_owned),
            original,
            places: places(&normalised),
            normalised,
        }
    }

    /// What the library has to know of it.
    pub(super) fn shelved(&self) -> Shelved<'_> {
        Shelved {
            root: &self.normalised,
            url: self.source_url.as_deref().and_then(parse).map(|(url, _)| url),
            schemas: self.places.iter().map(|place| place.at.clone()).collect(),
            prefix: self.prefix.clone(),
        }
    }

    /// The URLs of all custom schemas.
    pub(super) fn custom_urls(&self) -> impl Iterator<Item = (Url, String)> {
        self.instances
            .iter()
            .flat_map(|instance| instance.custom_item_schema_urls.values())
            .filter_map(|url| parse(url))
    }

    /// Resolves and compiles what document `number` of the library says. What is wrong goes to `report`; what is not
    /// usable is left out.
    pub(super) fn compile(
        &self,
        number: usize,
        library: &Library<'_>,
        options: &LoadOptions,
        report: &mut Report,
    ) -> Compiled {
        let mut builder = Builder {
            network: self,
            number,
            library,
            options,
            schemas: HashMap::new(),
            taken_from: BTreeSet::new(),
            report,
        };
        builder.resolve_schemas();
        let mut domains = builder.domains();
        let actions = builder.actions();
        let customs = builder.customs(&mut domains);
        let direct: Vec<&str> = (customs.iter().filter(|custom| !custom.url.contains('#')))
            .filter_map(|custom| custom.document.as_deref())
            .collect();
        let taken_from = builder.taken_from.iter().filter_map(|document| library.named(*document));
        let referred = taken_from.filter(|url| !direct.contains(url)).map(str::to_owned).collect();
        let emitted = builder.schemas.into_iter().map(|(at, schema)| (at, schema.emitted)).collect();
        Compiled { domains, actions, customs, referred, emitted }
    }

    /// The network, with its schemas written out.
    pub(super) fn finish(self, compiled: Compiled) -> Network {
        let mut document = self.normalised;
        for (at, schema) in compiled.emitted {
            if let Some(slot) = document.pointer_mut(&at) {
                *slot = schema;
            }
        }
        Network {
            id: self.id,
            source_url: self.source_url,
            fetched: self.fetched,
            document,
            domains: compiled.domains,
            instances: self.instances,
            actions: compiled.actions,
            customs: compiled.customs,
            referred: compiled.referred,
        }
    }
}

/// What a network document comes to.
pub(super) struct Compiled {
    domains: Vec<Domain>,
    actions: Vec<Action>,
    customs: Vec<Custom>,
    referred: Vec<String>,
    emitted: Vec<(String, Value)>,
}

pub(super) struct Builder<'n, 'd> {
    pub(super) network: &'n Draft<'n>,
    /// Number of the document in the library.
    pub(super) number: usize,
    pub(super) library: &'n Library<'d>,
    pub(super) options: &'n LoadOptions,
    /// Self-contained schemas by their pointer.
    schemas: HashMap<String, SelfContained>,
    /// Documents that schemas were completed from.
    pub(super) taken_from: BTreeSet<usize>,
    pub(super) report: &'n mut Report,
}

impl Builder<'_, '_> {
    fn resolve_schemas(&mut self) {
        let network = self.network;
        // Defaults are reported where they take effect.
        let mut unheard = Report::default();
        for place in &network.places {
            let Some(holder) = self.library.schema(self.number, &place.at) else { continue };
            let (shown_at, weight) = match &place.item_type {
                None => (place.at.clone(), Weight::Problem),
                Some((domain, name)) => (self.shown_schema(*domain, name), self.weight_of(*domain)),
            };
            let at = (place.at.as_str(), shown_at.as_str());
            let wanted = Wanted { holder, network: self.number, at, weight, dead: Weight::Problem };
            let report = if is_default(&place.at) { &mut unheard } else { &mut *self.report };
            if let Some(schema) = self_contained(self.library, &wanted, report) {
                self.taken_from.extend(&schema.taken_from);
                self.schemas.insert(place.at.clone(), schema);
            }
        }
    }

    /// A schema that a domain takes from its defaults stands there in the operator's file.
    fn shown_schema(&self, domain: usize, item_type: &str) -> String {
        let own = schema_at(domain, "item_schemas", item_type);
        let is_own = self.network.original.pointer(&own).is_some();
        if is_own { own } else { schema_at(domain, "default_item_schemas", item_type) }
    }

    fn weight_of(&self, domain: usize) -> Weight {
        let id = list(&self.network.normalised, "domains").get(domain).map(|domain| text(domain, "id"));
        self.weight_in(&id.unwrap_or_default())
    }

    fn weight_in(&self, domain: &str) -> Weight {
        if self.serves(domain) { Weight::Problem } else { Weight::Warning }
    }

    pub(super) fn serves(&self, domain: &str) -> bool {
        self.options.served.iter().any(|binding| binding.network == self.network.id && binding.domain == domain)
    }

    fn domains(&mut self) -> Vec<Domain> {
        let mut domains: Vec<Domain> = Vec::new();
        for (position, domain) in list(&self.network.normalised, "domains").iter().enumerate() {
            let id = text(domain, "id");
            if domains.iter().any(|known| known.id == id) {
                self.report
                    .problem(&join(&index("/domains", position), "id"), format!("the domain {id:?} is defined twice"));
            }
            let type_names: Vec<String> = keys(domain.get("item_schemas")).map(str::to_owned).collect();
            let item_types = type_names.iter().filter_map(|name| self.item_type(position, &id, name)).collect();
            let minimum_cache_ttl_seconds =
                domain.get("minimum_cache_ttl_seconds").and_then(Value::as_u64).unwrap_or_default();
            domains.push(Domain {
                id,
                minimum_cache_ttl_seconds,
                type_names,
                item_types,
                unlisted: Vec::new(),
                unreachable: Vec::new(),
            });
        }
        self.check_instance_domains(&domains);
        domains
    }

    fn check_instance_domains(&mut self, domains: &[Domain]) {
        for instance in &self.network.instances {
            if !domains.iter().any(|domain| domain.id == instance.domain_id) {
                let message = format!(
                    "{} is registered for the domain {:?}, which is not defined",
                    instance.url, instance.domain_id
                );
                self.report.warning("/instances", message);
            }
        }
    }

    fn item_type(&mut self, position: usize, domain: &str, name: &str) -> Option<ItemType> {
        let at = schema_at(position, "item_schemas", name);
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

    /// What items of this type carry as `item_schema_url`, unless this instance has a schema of its own (CONTRACT 8.1).
    fn schema_url(&self, domain: &str, item_type: &str) -> String {
        let network = &self.network.id;
        match &self.network.source_url {
            Some(source) => domain_schema_url(source, network, domain, item_type),
            None => format!("{}/api/v1/network/schema/{}", self.options.own_url, segments(network, domain, item_type)),
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (action_type, action) in
            self.network.normalised.get("actions").and_then(Value::as_object).into_iter().flatten()
        {
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
        if to_network != self.network.id {
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
        let (Some(statuses), Some(lifecycle)) = (interaction.statuses(), self.network.original.pointer(&at)) else {
            return;
        };
        for (status, at) in named_statuses(lifecycle, &at) {
            if !statuses.contains(&status) {
                self.report.problem(&at, format!("{status:?} is not in the status enum of interaction {position}"));
            }
        }
    }

    fn report_compile(&mut self, error: &CompileError, weight: Weight, at: &str) {
        let path = format!("{}{at}", self.network.prefix);
        self.report_compile_at(error, weight, &path);
    }

    /// Reports at a path that names its document itself.
    pub(super) fn report_compile_at(&mut self, error: &CompileError, weight: Weight, path: &str) {
        match error {
            CompileError::UnknownDraft => self.report.add_at(weight, join(path, "$schema"), error.to_string()),
            CompileError::Invalid(places) => {
                for (place, message) in places {
                    self.report.add_at(weight, format!("{path}{place}"), message.clone());
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

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(object: &Value, key: &str) -> Vec<String> {
    list(object, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
