//! Builds contracts from documents: each is read, checked and compiled, and every problem of all of them is told at once.

use arc_swap::ArcSwap;
use chrono::Utc;

use super::Contracts;
use super::bindings::Binding;
use super::compile::Draft;
use super::dangling::check_item_types;
use super::document::normalise;
use super::documents::{Documents, NetworkDocument};
use super::instance_url::InstanceUrl;
use super::library::Library;
use super::network::Network;
use super::pointer::index;
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
    /// Builds the contract that the documents make together, from nothing else.
    ///
    /// # Errors
    /// Every problem, with paths into the documents.
    pub fn build(documents: Documents, options: &LoadOptions) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let mut report = Report::default();
        let networks = read(&documents, options, &mut report);
        if report.problems.is_empty() {
            Ok((Self::of(documents, networks, options), report.warnings))
        } else {
            Err(report.problems)
        }
    }

    /// The contract of documents that have been [read](read) without a problem.
    pub(super) fn of(documents: Documents, networks: Vec<Network>, options: &LoadOptions) -> Self {
        let (own_url, served) = (options.own_url.clone(), options.served.clone());
        let unsplit = ArcSwap::default();
        Self { documents, networks, own_url, served, version: 1, loaded_at: Utc::now(), unsplit }
    }
}

/// The networks of the documents. What is wrong, and what is missing, goes to `report`.
pub(super) fn read(documents: &Documents, options: &LoadOptions, report: &mut Report) -> Vec<Network> {
    if documents.networks.is_empty() {
        report.problem("", "there is no network document");
    }
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for (prefix, network) in prefixed(documents) {
        report.enter(&prefix);
        let fetched_from = network.fetched_from.as_deref();
        let Some(normalised) = normalise(&network.document, fetched_from, report) else { continue };
        let draft = Draft::new(prefix, fetched_from.is_some(), &network.document, normalised, report);
        if drafts.iter().any(|known| known.id == draft.id) {
            report.problem("/id", format!("the network {:?} is loaded twice", draft.id));
        }
        drafts.push(draft);
    }
    check_item_types(&drafts, report);
    let entries: Vec<_> = drafts.iter().flat_map(Draft::custom_urls).collect();
    let shelved = drafts.iter().map(Draft::shelved).collect();
    let library = Library::new(shelved, &documents.named, &entries, &options.own_url);
    let compile = |(number, draft): (usize, &Draft<'_>)| {
        report.enter(&draft.prefix);
        draft.compile(number, &library, options, report)
    };
    let compiled: Vec<_> = drafts.iter().enumerate().map(compile).collect();
    report.enter("");
    let networks: Vec<_> = drafts.into_iter().zip(compiled).map(|(draft, compiled)| draft.finish(compiled)).collect();
    check_served(&networks, options, report);
    networks
}

/// What stands before the paths of each document: its URL, or its number if several were not fetched.
pub(super) fn prefixed(documents: &Documents) -> impl Iterator<Item = (String, &NetworkDocument)> {
    let local = documents.networks.iter().filter(|network| network.fetched_from.is_none()).count();
    let mut number = 0;
    documents.networks.iter().map(move |network| {
        let prefix = match &network.fetched_from {
            Some(url) => format!("{url}#"),
            None if local == 1 => String::new(),
            None => {
                number += 1;
                index("", number - 1)
            }
        };
        (prefix, network)
    })
}

/// What is served should be defined, and registered under our URL (CONTRACT 7.9).
fn check_served(networks: &[Network], options: &LoadOptions, report: &mut Report) {
    for binding in &options.served {
        let network = networks.iter().find(|network| network.id() == binding.network);
        let Some(network) = network.filter(|network| network.domain(&binding.domain).is_some()) else {
            report.warning("", format!("{binding} is served, but no loaded contract defines it"));
            continue;
        };
        if network.registered(&binding.domain, &options.own_url).is_none() {
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
