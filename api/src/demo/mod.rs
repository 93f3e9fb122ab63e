//! `dpg demo`: the main job of this software as a story that can be watched, and as a check that can fail.
//!
//! Two processes of this program, student and tutor, on one private Postgres with a database each; a request that crosses
//! from one to the other; an outage of the one while the other goes on; and the proof that both hold the same history in
//! the end. It speaks HTTP only, as any client would.

mod call;
mod error;
mod history;
mod instance;
mod interrupt;
mod narrator;
mod network;
mod person;
mod stage;
mod story;

use std::io::Write;
use std::path::Path;

pub use error::DemoError;

use error::Told;
use interrupt::Interrupt;
use narrator::Narrator;
use stage::Stage;

/// Where the demo keeps its data, beside the one of `dpg serve`.
const ROOT: &str = "./.dpg";

/// Plays the demo. With `once` it ends after the story; without, it stays up until Ctrl-C.
///
/// # Errors
/// [`DemoError`] for the first step that did not come out as told. What it started is stopped in any case.
pub async fn run(once: bool) -> Result<(), DemoError> {
    let mut interrupt = Interrupt::listen().told("listen for", Path::new("signals"))?;
    let mut told = Narrator::new(std::io::stdout());
    told.print("A network of two instances, in which nothing gets lost.")?;
    let mut stage = tokio::select! {
        stage = Stage::set(Path::new(ROOT)) => stage?,
        () = interrupt.received() => return Err(DemoError::Interrupted),
    };
    let played = tokio::select! {
        played = perform(&mut stage, &mut told, once) => played,
        () = interrupt.received() => Err(DemoError::Interrupted),
    };
    let played = match played {
        Ok(()) if !once => stay(&mut stage, &mut told, &mut interrupt).await,
        played => played,
    };
    let shown = if matches!(played, Ok(()) | Err(DemoError::Interrupted)) { Ok(()) } else { logs(&stage, &mut told) };
    let closed = stage.close().await;
    played.and(shown).and(closed)
}

async fn perform<W: Write>(stage: &mut Stage, told: &mut Narrator<W>, once: bool) -> Result<(), DemoError> {
    let cast = story::play(stage, told).await?;
    if once {
        return told.print("\nThe demo went as told.");
    }
    story::try_next(stage, told, &cast).await?;
    told.print("\nCtrl-C ends it.")
}

/// Until Ctrl-C, or until an instance ends by itself.
async fn stay<W: Write>(stage: &mut Stage, told: &mut Narrator<W>, interrupt: &mut Interrupt) -> Result<(), DemoError> {
    tokio::select! {
        () = interrupt.received() => {}
        error = stage.student.ended() => return Err(error),
        error = stage.tutor.ended() => return Err(error),
    }
    told.print("\nStopping both instances, then Postgres.")
}

/// The end of both logs, for whoever wants to know why it failed.
fn logs<W: Write>(stage: &Stage, told: &mut Narrator<W>) -> Result<(), DemoError> {
    for instance in [&stage.student, &stage.tutor] {
        told.print(&format!("\nThe end of {}:", instance.log().display()))?;
        for line in instance.log_tail()? {
            told.line(&line)?;
        }
    }
    Ok(())
}
