//! Where remote contracts are (CONTRACT 7.9): `NETWORK_CONFIG_URLS`, else `SCHEMA_REGISTRY_URL`.

use url::Url;

use super::ContractSource;
use super::reader::Reader;
use super::settings::{self, Setting};

/// Reads where each network's document is, in the configured order; empty for a local source.
pub(super) fn read(
    r: &mut Reader<'_>,
    source: Option<ContractSource>,
    served: &[(String, String)],
) -> Vec<(String, Url)> {
    if source != Some(ContractSource::Remote) {
        return Vec::new();
    }
    if let Some(text) = r.text(&settings::NETWORK_CONFIG_URLS) {
        return mapping(r, &settings::NETWORK_CONFIG_URLS, &text);
    }
    let registry = &settings::SCHEMA_REGISTRY_URL;
    match r.text(registry) {
        Some(text) => match http_url(&text) {
            Some(base) => registered(&base, served),
            None => mapping(r, registry, &text),
        },
        None => {
            let message = "is remote, which needs NETWORK_CONFIG_URLS or SCHEMA_REGISTRY_URL";
            r.problem(&settings::NETWORK_CONFIG_SOURCE, message);
            Vec::new()
        }
    }
}

/// `net=url[,net=url…]`, each split at its first `=`.
fn mapping(r: &mut Reader<'_>, setting: &Setting, text: &str) -> Vec<(String, Url)> {
    let mut urls: Vec<(String, Url)> = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let pair = entry.split_once('=').map(|(network, url)| (network.trim(), url.trim()));
        match pair.and_then(|(network, url)| Some((network, http_url(url)?))) {
            Some((network, _)) if urls.iter().any(|(known, _)| known == network) => {
                r.problem(setting, format!("names the network {network:?} twice"));
            }
            Some((network, url)) if !network.is_empty() => urls.push((network.to_owned(), document_url(url))),
            _ => r.problem(setting, format!("holds what is no network=url of an http or https URL: {entry}")),
        }
    }
    urls
}

/// One document per served network below a base URL.
fn registered(base: &Url, served: &[(String, String)]) -> Vec<(String, Url)> {
    let mut urls: Vec<(String, Url)> = Vec::new();
    for (network, _) in served {
        if !urls.iter().any(|(known, _)| known == network) {
            urls.push((network.clone(), below(base.clone(), &format!("{network}/network.json"))));
        }
    }
    urls
}

fn http_url(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.set_fragment(None);
    Some(url)
}

/// A path that names no JSON file is the folder of one.
fn document_url(url: Url) -> Url {
    if url.path().ends_with(".json") { url } else { below(url, "network.json") }
}

fn below(mut url: Url, path: &str) -> Url {
    let path = format!("{}/{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}
