//! Loads contracts: every document is read, checked and compiled, and every problem of all of them is told at once.

use arc_swap::ArcSwap;
use chrono::Utc;
use serde_json::Value;

use super::Contracts;
use super::bindings::Binding;
use super::document::normalise;
use super::documents::Documents;
use super::instance_url::InstanceUrl;
use super::network::Network;
use super::pointer::{index, join};
use super::report::{Problem, Report, Warning};

/// What the instance brings to its contracts.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Own base URL (CONTRACT 5.3).
    pub own_url: InstanceUrl,
    /// `SERVED_DOMAINS`.
    pub served: Vec<Binding>,
    /// Whether `INSTANCE_ENV` is `production`, where an unregistered own URL is a problem.
    pub production: bool,
    /// `ALLOW_EXTRA_SCHEMA_DATA`.
    pub allow_extra: bool,
}

impl Contracts {
    /// Builds the contract that the documents make together. Several are told apart in paths by their number.
    ///
    /// # Errors
    /// Every problem, with paths into the documents.
    pub fn build(documents: Documents, options: &LoadOptions) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let alone = documents.networks.len() == 1;
        let numbered = documents.networks.into_iter().enumerate();
        let prefixed = numbered.map(|(number, network)| {
            let prefix = if alone { String::new() } else { index("", number) };
            (prefix, network.document)
        });
        load(prefixed.collect(), options)
    }
}

fn load(documents: Vec<(String, Value)>, options: &LoadOptions) -> Result<(Contracts, Vec<Warning>), Vec<Problem>> {
    let mut report = Report::default();
    if documents.is_empty() {
        report.problem("", "there is no network document");
    }
    let mut networks: Vec<Network> = Vec::new();
    let mut origins = Vec::new();
    for (prefix, document) in documents {
        report.enter(&prefix);
        let Some(normalised) = normalise(&document, &mut report) else { continue };
        let network = Network::build(document, normalised, options, &mut report);
        if networks.iter().any(|known| known.id() == network.id()) {
            report.problem("/id", format!("the network {:?} is loaded twice", network.id()));
        }
        origins.extend(origins_of(&network).into_iter().map(|(at, id)| (format!("{prefix}{at}"), id)));
        networks.push(network);
    }
    report.enter("");
    let (own_url, served) = (options.own_url.clone(), options.served.clone());
    let contracts =
        Contracts { networks, own_url, served, version: 1, loaded_at: Utc::now(), unsplit: ArcSwap::default() };
    for (at, id) in origins {
        if contracts.network(&id).is_none() {
            let message =
                format!("the network {id:?} is not loaded: fetching other networks is not supported by this version");
            report.warning(&at, message);
        }
    }
    check_served(&contracts, options, &mut report);
    if report.problems.is_empty() { Ok((contracts, report.warnings)) } else { Err(report.problems) }
}

fn origins_of(network: &Network) -> Vec<(String, String)> {
    let origins = network.document().get("cross_network_origins").and_then(Value::as_array);
    let named = origins.into_iter().flatten().enumerate();
    named
        .filter_map(|(position, origin)| {
            let at = join(&index("/cross_network_origins", position), "id");
            Some((at, origin.get("id")?.as_str()?.to_owned()))
        })
        .collect()
}

/// What is served should be defined, and registered under our URL (CONTRACT 7.9).
fn check_served(contracts: &Contracts, options: &LoadOptions, report: &mut Report) {
    for binding in &options.served {
        let defined = contracts.network(&binding.network).and_then(|network| network.domain(&binding.domain)).is_some();
        if !defined {
            report.warning("", format!("{binding} is served, but no loaded contract defines it"));
        } else if contracts.registered(&binding.network, &binding.domain, &options.own_url).is_none() {
            let message =
                format!("{binding} is served, but its contract registers no instance with our URL {}", options.own_url);
            if options.production {
                report.problem("", message);
            } else {
                report.warning("", message);
            }
        }
    }
}
