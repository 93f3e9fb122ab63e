//! What an operator can do to lanes and parked events (CONTRACT 4.24), for the admin routes and the command line alike.
//! Who did what and when is kept with the lane or the parked event. Workers notice by themselves: a verb only writes rows.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde_json::value::RawValue;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::body::{BodyError, event_body_at};
use crate::lane::State;
use crate::queries::{self, Concerned, LaneKey, LaneStatus, ParkedEvent, ParkedPage, ParkedQuery, Which};
use crate::{MirrorError, destination};

/// Why an operator's wish was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No lane to that instance, or not in that network: 404 `LANE_NOT_FOUND`.
    #[error("there is no such lane")]
    LaneNotFound,
    /// Unknown, sent again or dropped: 404 `PARKED_NOT_FOUND`.
    #[error("there is no such parked event")]
    ParkedNotFound,
    /// The lane's state forbids it: 409 `LANE_STATE_CONFLICT`.
    #[error("the lane of {network} is {}", .state.as_str())]
    StateConflict {
        /// The lane's network.
        network: String,
        /// Its state.
        state: State,
    },
    /// `since_seq` is not from 1 to the lane's last number: 400 `VALIDATION_ERROR` at `/since_seq`.
    #[error("the lane has no event with that number")]
    BeyondLastSeq,
    /// The event in the log can't be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Our own database.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

impl From<tokio_postgres::Error> for OperatorError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Mirror(error.into())
    }
}

impl From<dpg_eventstore::DatabaseError> for OperatorError {
    fn from(error: dpg_eventstore::DatabaseError) -> Self {
        Self::Mirror(error.into())
    }
}

/// What ends, begins or shortens a lane's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Nothing goes out until *resume*.
    Pause,
    /// Ready, waits forgotten.
    Resume,
    /// One event goes out at once, whatever the wait; an idle lane asks its peer for its mark instead.
    Probe,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Probe => "probe",
        }
    }

    fn allowed_in(self, state: State) -> bool {
        match (self, state) {
            (Self::Pause, _) => true,
            (Self::Resume, state) => state != State::Unregistered,
            (Self::Probe, state) => !matches!(state, State::Unregistered | State::Paused),
        }
    }
}

/// An operator at work. Its database's sessions have to be durable.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Where the lanes are.
    pub db: Database,
    /// Who it is, as it is kept.
    pub by: String,
    /// When it is.
    pub now: DateTime<Utc>,
}

/// How every lane stands, by network and destination; with an instance's URL, in any spelling, only those to it.
///
/// # Errors
/// As the database says.
pub async fn lanes(db: &Database, instance_url: Option<&str>) -> Result<Vec<LaneStatus>, MirrorError> {
    match instance_url.map(destination::normalise) {
        Some(None) => Ok(Vec::new()),
        Some(Some(destination)) => queries::lanes(db, Which::Of(&destination)).await,
        None => queries::lanes(db, Which::All).await,
    }
}

/// How the lanes stand that are called at an instance's URL, in any spelling: its own unless they were moved elsewhere, and
/// those that were moved to it.
///
/// # Errors
/// As the database says.
pub async fn lanes_called_at(db: &Database, instance_url: &str) -> Result<Vec<LaneStatus>, MirrorError> {
    match destination::normalise(instance_url) {
        None => Ok(Vec::new()),
        Some(address) => queries::lanes(db, Which::CalledAt(&address)).await,
    }
}

/// The lanes that were moved to an instance's URL, in any spelling.
///
/// # Errors
/// As the database says.
pub async fn lanes_moved_to(db: &Database, instance_url: &str) -> Result<Vec<LaneKey>, MirrorError> {
    match destination::normalise(instance_url) {
        None => Ok(Vec::new()),
        Some(address) => queries::moved_to(db, &address).await,
    }
}

/// Parked events, newest first.
///
/// # Errors
/// As the database says.
pub async fn parked(db: &Database, query: &ParkedQuery) -> Result<ParkedPage, MirrorError> {
    match query.instance_url.as_deref().map(destination::normalise) {
        Some(None) => Ok(ParkedPage::default()),
        Some(Some(destination)) => queries::list_parked(db, Some(&destination), query).await,
        None => queries::list_parked(db, None, query).await,
    }
}

/// A parked event, and the body of 4.14 as it would be sent.
///
/// # Errors
/// [`OperatorError::ParkedNotFound`], or as the database says.
pub async fn parked_event(db: &Database, id: Uuid) -> Result<(ParkedEvent, Box<RawValue>), OperatorError> {
    let parked = queries::find_parked(db, id).await?.ok_or(OperatorError::ParkedNotFound)?;
    let event = queries::event_at(db, &parked.key, parked.seq).await?;
    let Some(event) = event else {
        let LaneKey { network, destination } = parked.key;
        return Err(MirrorError::Gap { network, destination, expected: parked.seq, found: 0 }.into());
    };
    let body = event_body_at(&event.payload, event.recorded_at, event.moved_to.as_deref())?;
    let body = serde_json::from_slice(&body.json).map_err(BodyError::from)?;
    Ok((parked, body))
}

impl Operator {
    /// Pauses, resumes or probes the lanes to an instance, or its lane of one network: all of them, or none.
    ///
    /// # Errors
    /// [`OperatorError::LaneNotFound`], [`OperatorError::StateConflict`], or as the database says.
    pub async fn act(
        &self,
        verb: Verb,
        instance_url: &str,
        network: Option<&str>,
    ) -> Result<Vec<LaneStatus>, OperatorError> {
        let destination = destination::normalise(instance_url).ok_or(OperatorError::LaneNotFound)?;
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let lanes = found(&transaction, &destination, network).await?;
        for lane in &lanes {
            if !verb.allowed_in(lane.state) {
                return Err(conflict(lane));
            }
            queries::act(&transaction, &lane.key, verb.as_str(), &self.by, self.now).await?;
        }
        transaction.commit().await?;
        self.status(&destination, network).await
    }

    /// Sends everything from `since_seq` on again, but for parked and dropped events; how many that are.
    ///
    /// # Errors
    /// [`OperatorError::LaneNotFound`], [`OperatorError::StateConflict`], [`OperatorError::BeyondLastSeq`], or as the
    /// database says.
    pub async fn resend(
        &self,
        instance_url: &str,
        network: &str,
        since_seq: i64,
    ) -> Result<(LaneStatus, i64), OperatorError> {
        let destination = destination::normalise(instance_url).ok_or(OperatorError::LaneNotFound)?;
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let mut resent = 0;
        for lane in found(&transaction, &destination, Some(network)).await? {
            if lane.state == State::Unregistered {
                return Err(conflict(&lane));
            }
            let moved = queries::resend(&transaction, &lane.key, since_seq, &self.by, self.now).await?;
            resent = moved.ok_or(OperatorError::BeyondLastSeq)?;
        }
        transaction.commit().await?;
        let lanes = self.status(&destination, Some(network)).await?;
        let lane = lanes.into_iter().next().ok_or(OperatorError::LaneNotFound)?;
        Ok((lane, resent))
    }

    /// A destination has changed its address: its lanes, and those that were moved there before, are called at `new` from
    /// now on, event by event, and each body names the source item's instance as it is now. A lane that moves back to its
    /// own address is as it was before.
    ///
    /// # Errors
    /// [`OperatorError::LaneNotFound`], also when `new` is no instance's URL, or as the database says.
    pub async fn move_lanes(&self, old: &str, new: &str) -> Result<Vec<LaneStatus>, OperatorError> {
        let normalised = |url| destination::normalise(url).ok_or(OperatorError::LaneNotFound);
        let (old, new) = (normalised(old)?, normalised(new)?);
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let moving = queries::concerned(&transaction, &old, None, true).await?;
        if moving.is_empty() {
            return Err(OperatorError::LaneNotFound);
        }
        for lane in &moving {
            queries::move_lane(&transaction, &lane.key, &new, &self.by, self.now).await?;
        }
        transaction.commit().await?;
        let mut lanes = queries::lanes(&self.db, Which::CalledAt(&new)).await?;
        lanes.retain(|lane| moving.iter().any(|moved| moved.key == lane.key));
        Ok(lanes)
    }

    /// Queues a parked event to be sent again, with its number, before the lane's next.
    ///
    /// # Errors
    /// [`OperatorError::ParkedNotFound`], [`OperatorError::StateConflict`], or as the database says.
    pub async fn retry(&self, id: Uuid) -> Result<(), OperatorError> {
        let parked = queries::find_parked(&self.db, id).await?.ok_or(OperatorError::ParkedNotFound)?;
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let lanes = queries::concerned(&transaction, &parked.key.destination, Some(&parked.key.network), false).await?;
        if let Some(lane) = lanes.iter().find(|lane| lane.state == State::Unregistered) {
            return Err(conflict(lane));
        }
        if !queries::retry(&transaction, id, &self.by, self.now).await? {
            return Err(OperatorError::ParkedNotFound);
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Gives a parked event up for ever; its number is told to the peer as withdrawn.
    ///
    /// # Errors
    /// [`OperatorError::ParkedNotFound`], or as the database says.
    pub async fn drop_parked(&self, id: Uuid, reason: &str) -> Result<(), OperatorError> {
        match queries::drop_parked(&self.db, id, reason, &self.by, self.now).await? {
            true => Ok(()),
            false => Err(OperatorError::ParkedNotFound),
        }
    }

    async fn status(&self, destination: &str, network: Option<&str>) -> Result<Vec<LaneStatus>, OperatorError> {
        let mut lanes = queries::lanes(&self.db, Which::Of(destination)).await?;
        lanes.retain(|lane| network.is_none_or(|network| lane.key.network == network));
        Ok(lanes)
    }
}

async fn found(
    transaction: &Transaction<'_>,
    destination: &str,
    network: Option<&str>,
) -> Result<Vec<Concerned>, OperatorError> {
    let lanes = queries::concerned(transaction, destination, network, false).await?;
    if lanes.is_empty() { Err(OperatorError::LaneNotFound) } else { Ok(lanes) }
}

fn conflict(lane: &Concerned) -> OperatorError {
    OperatorError::StateConflict { network: lane.key.network.clone(), state: lane.state }
}
