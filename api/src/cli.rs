//! The command line: `dpg serve` and what an operator needs beside it. Output for people goes to stdout, logs to stderr.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dpg_eventstore::Chain;
use tokio_util::sync::CancellationToken;

use crate::config::settings::describe;
use crate::config::{Config, Environment};
use crate::contract::Loaded;
use crate::operator::{self, Failure, KeysVerb, LogVerb, OutboxVerb, PeersVerb};
use crate::startup::{self, Role, StartError};
use crate::store::Store;
use crate::{demo, loading, telemetry};

/// One instance of a decentralised network.
#[derive(Debug, Parser)]
#[command(name = "dpg", version, about, long_about = None)]
pub struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run API, projector and mirror in one process.
    Serve,
    /// Run the API alone.
    Api,
    /// Run a projector alone; as many as you like.
    Projector,
    /// Run a mirror worker alone; as many as you like.
    Mirror,
    /// Bring the database's schema up to date and exit.
    Migrate,
    /// Compare the projected tables with a fresh fold of the log, and the log with itself; non-zero when they differ.
    Verify,
    /// Check the network contract and print what it defines. What can't be fetched is named; its last good copy stands in.
    Contract,
    /// API keys, and the key pair for peers.
    #[command(subcommand)]
    Keys(KeysVerb),
    /// How delivery to each peer stands; pause, resume, probe, move and reconcile.
    Peers {
        #[command(subcommand)]
        verb: Option<PeersVerb>,
    },
    /// What is owed to peers: parked events, and sending again.
    #[command(subcommand)]
    Outbox(OutboxVerb),
    /// The log as a whole.
    #[command(subcommand)]
    Log(LogVerb),
    /// Print every setting, its default, its meaning and its present value. Secrets are not shown.
    Config,
    /// Two instances, a cross-instance action and an outage, told line by line. ONCE=1 ends when the story ends.
    Demo,
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => fail(&*error),
    }
}

async fn run(verb: Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Demo => {
            telemetry::init(false, std::env::var("RUST_LOG").ok().as_deref().or(Some("warn")))?;
            demo::run(std::env::var("ONCE").is_ok_and(|once| once == "1")).await?;
        }
        Verb::Config => return print_config(),
        Verb::Serve => serve(Role::SERVE).await?,
        Verb::Api => serve(Role::API).await?,
        Verb::Projector => serve(Role::PROJECTOR).await?,
        Verb::Mirror => serve(Role::MIRROR).await?,
        Verb::Migrate => {
            Store::open(&configure()?).await?.close().await;
            println!("The schema is up to date.");
        }
        Verb::Verify => return verify().await,
        Verb::Contract => contract().await?,
        Verb::Keys(verb) => operator::keys(verb, configure).await?,
        Verb::Peers { verb } => {
            let same = operator::peers(verb, &configure()?).await?;
            return Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Outbox(verb) => operator::outbox(verb, &configure()?).await?,
        Verb::Log(verb) => operator::log(&verb, &configure()?).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the configuration and starts logging.
fn configure() -> Result<Config, Failure> {
    let environment = Environment::load().map_err(|problem| StartError::Config(vec![problem]))?;
    let config = Config::parse(&|name| environment.get(name)).map_err(StartError::Config)?;
    telemetry::init(config.production(), environment.get("RUST_LOG").as_deref())?;
    Ok(config)
}

async fn serve(role: Role) -> Result<(), Failure> {
    let config = configure()?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    startup::run(config, role, stop).await?;
    Ok(())
}

/// Ctrl-C and SIGTERM drain; a second one ends the process at once.
async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals can't be watched: only a kill will stop this process");
        return;
    };
    for again in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if again {
            std::process::exit(130);
        }
        tracing::info!("stopping: what is under way is finished first");
        stop.cancel();
    }
}

fn print_config() -> Result<ExitCode, Failure> {
    let environment = Environment::load().map_err(|problem| StartError::Config(vec![problem]))?;
    let lookup = |name: &str| environment.get(name);
    for row in describe(&lookup) {
        println!("{}\n    {}", row.name, row.meaning);
        println!("    default: {}", row.default);
        if row.given {
            println!("    value:   {}", row.value);
        }
    }
    match Config::parse(&lookup) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(problems) => {
            eprintln!("dpg: {}", StartError::Config(problems));
            Ok(ExitCode::from(2))
        }
    }
}

async fn contract() -> Result<(), Failure> {
    let source = loading::source_of(&configure()?)?;
    let Loaded { contracts, warnings, copies } = loading::load(&source, None).await?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    for network in contracts.networks() {
        println!("{}", network.id());
        for domain in network.domains() {
            println!("  domain {}: {}", domain.id, domain.type_names().join(", "));
        }
        for action in network.actions() {
            println!("  action {}: {} interactions", action.action_type, action.interactions.len());
        }
    }
    // A start would do with these copies, and so does this command; but what stands there now was not looked at.
    for url in copies {
        println!("NOT CHECKED: {url} can't be had; what is said above is from its last good copy");
    }
    Ok(())
}

async fn verify() -> Result<ExitCode, Failure> {
    let store = Store::open(&configure()?).await?;
    let database = store.pool(&dpg_projector::session_options(4))?;
    let report = dpg_projector::verify(&database).await;
    store.close().await;
    let report = report?;
    for comparison in &report.comparisons {
        let verdict = if comparison.differing == 0 { "same" } else { "DIFFERENT" };
        println!(
            "{} of {} at {}: {} rows, {verdict}",
            comparison.projection, comparison.network, comparison.position, comparison.live_rows
        );
    }
    for held in &report.held {
        println!("held back: {} of {}: stream {}: {}", held.projection, held.network, held.stream_id, held.error);
    }
    for difference in &report.differences {
        println!("{difference}");
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what went wrong, each cause once.
fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("dpg: {}", Chain(error));
    ExitCode::from(2)
}
