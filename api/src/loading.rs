//! From the settings to a contract: at boot, and for the operator who only wants to check it.

use dpg_eventstore::Chain;

use crate::config::{Config, ContractSource};
use crate::contract::{At, Binding, Contracts, Documents, InstanceUrl, LoadOptions, Loaded, Source, SourceOptions};
use crate::startup::{StartError, guard, setting};

/// Where the contract comes from, by the settings.
///
/// # Errors
/// [`StartError::Setting`].
pub fn source_of(config: &Config) -> Result<Source, StartError> {
    let served = config.served_domains.iter().cloned();
    let options = SourceOptions {
        load: LoadOptions {
            own_url: InstanceUrl::parse(&config.base_url).map_err(setting("API_DOMAIN is no instance URL"))?,
            served: served.map(|(network, domain)| Binding { network, domain }).collect(),
            production: config.production(),
            allow_extra: config.allow_extra_schema_data,
        },
        urls: (config.contract_source == ContractSource::Remote).then(|| config.contract_urls.clone()),
        file: config.contract_file.clone(),
        cache_root: config.schema_cache_dir.clone(),
        instance_name: config.instance_name.clone(),
        timeout: config.peer_timeout,
        guard: guard(config)?,
    };
    Source::new(options).map_err(setting("the client for contracts could not be made"))
}

/// Loads the contract as a start does: what can't be fetched is taken from the last good one.
///
/// # Errors
/// [`StartError::Contract`] with every problem.
pub async fn load(source: &Source, last_good: Option<&Documents>) -> Result<Loaded, StartError> {
    let loaded = source.load(last_good, At::Boot).await;
    loaded.map_err(|error| StartError::Contract(error.into_problems()))
}

/// As [`load`]; the contract's warnings go to the log.
///
/// # Errors
/// As [`load`].
pub async fn load_contracts(source: &Source, last_good: Option<&Documents>) -> Result<Contracts, StartError> {
    let Loaded { contracts, warnings, .. } = load(source, last_good).await?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(contracts)
}

/// Keeps a copy of what has been loaded for a start without its sources. Without that copy everything works.
pub async fn store_contracts(source: &Source, contracts: &Contracts) {
    if let Err(error) = source.store(contracts).await {
        tracing::warn!(error = %Chain(&error), "the schema cache could not be written");
    }
}
