//! `dpg keys`: API keys of this instance, and the key pair that it signs with towards its peers.

use clap::Subcommand;
use dpg_eventstore::Database;
use dpg_mirror::signature::PeerKey;

use super::{Failure, on_database};
use crate::auth::keys as api_keys;
use crate::config::Config;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeysVerb {
    /// Make an API key and print it: it is shown only now.
    Create {
        /// The user it belongs to: an id or an e-mail address.
        #[arg(long)]
        user: String,
        /// What it is for.
        #[arg(long, default_value = "operator")]
        name: String,
        /// Make the user if there is none with this e-mail address.
        #[arg(long)]
        create_user: bool,
    },
    /// Make a key pair for signing towards peers; print the setting and the line for the contract.
    Peer,
}

/// Runs a verb.
///
/// # Errors
/// As the database says; without randomness.
pub async fn keys(verb: KeysVerb, configure: impl FnOnce() -> Result<Config, Failure>) -> Result<(), Failure> {
    match verb {
        KeysVerb::Create { user, name, create_user } => create(&configure()?, &user, &name, create_user).await,
        KeysVerb::Peer => peer(),
    }
}

async fn create(config: &Config, user: &str, name: &str, create_user: bool) -> Result<(), Failure> {
    let prefix = api_keys::default_prefix(&config.instance_name);
    let create = async |database: Database| Ok(api_keys::create(&database, user, name, prefix, create_user).await?);
    let key = on_database(config, "dpg keys", create).await?;
    eprintln!("This key is shown only now:");
    println!("{}", key.key);
    Ok(())
}

fn peer() -> Result<(), Failure> {
    let made = PeerKey::generate()?;
    eprintln!("For the settings of this instance, and for nobody else:");
    println!("PEER_PRIVATE_KEY={}", made.private.reveal());
    eprintln!("For the network's contract, in every entry of `instances` with this instance's URL:");
    println!("\"public_key\": \"{}\"", made.key.public_key());
    eprintln!(
        "To exchange a key that is in use: add the new one to `public_keys` beside it, wait until every instance has loaded\n\
         that contract, exchange PEER_PRIVATE_KEY, and take the old one out of the contract."
    );
    Ok(())
}
