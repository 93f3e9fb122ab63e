//! The vocabulary of the log: what may be appended, and what comes back when it is read.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::types::{FromSql, Type, accepts};
use uuid::Uuid;

/// What a stream is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamType {
    /// A schema-typed record; the stream's id is the item's id.
    Item,
    /// An interaction between two items; the stream's id is the action's id.
    Action,
}

impl StreamType {
    const ALL: [Self; 2] = [Self::Item, Self::Action];

    /// As stored in `stream_heads.type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Action => "action",
        }
    }
}

/// What happened. The payload of each is the *resulting state*, never a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Version 1 of an item.
    ItemCreated,
    /// A later version of an item.
    ItemUpdated,
    /// The end of an item's stream.
    ItemDeleted,
    /// Version 1 of an action whose target item lives here.
    ActionPerformed,
    /// A status change of an action that is held here.
    ActionStatusUpdated,
    /// An event of an action that another instance holds.
    ActionEventMirrored,
}

impl EventType {
    const ALL: [Self; 6] = [
        Self::ItemCreated,
        Self::ItemUpdated,
        Self::ItemDeleted,
        Self::ActionPerformed,
        Self::ActionStatusUpdated,
        Self::ActionEventMirrored,
    ];

    /// As stored in `event_log.event_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ItemCreated => "item.created",
            Self::ItemUpdated => "item.updated",
            Self::ItemDeleted => "item.deleted",
            Self::ActionPerformed => "action.performed",
            Self::ActionStatusUpdated => "action.status_updated",
            Self::ActionEventMirrored => "action.event_mirrored",
        }
    }

    /// The type of stream that such an event belongs to.
    #[must_use]
    pub const fn stream_type(self) -> StreamType {
        match self {
            Self::ItemCreated | Self::ItemUpdated | Self::ItemDeleted => StreamType::Item,
            Self::ActionPerformed | Self::ActionStatusUpdated | Self::ActionEventMirrored => StreamType::Action,
        }
    }

    /// Whether the stream ends with such an event.
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(self, Self::ItemDeleted)
    }
}

/// A name in the log that this binary does not know.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no type of this log")]
struct UnknownType(String);

type Decoded<T> = Result<T, Box<dyn std::error::Error + Sync + Send>>;

/// Which of `all` a text column names.
fn decoded<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, column: &Type, raw: &[u8]) -> Decoded<T> {
    let text = <&str>::from_sql(column, raw)?;
    all.iter().copied().find(|known| name(*known) == text).ok_or_else(|| UnknownType(text.to_owned()).into())
}

impl<'row> FromSql<'row> for StreamType {
    fn from_sql(column: &Type, raw: &'row [u8]) -> Decoded<Self> {
        decoded(&Self::ALL, Self::as_str, column, raw)
    }

    accepts!(TEXT);
}

impl<'row> FromSql<'row> for EventType {
    fn from_sql(column: &Type, raw: &'row [u8]) -> Decoded<Self> {
        decoded(&Self::ALL, Self::as_str, column, raw)
    }

    accepts!(TEXT);
}

/// Who and what caused an event. Kept beside the payload, never shown to peers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Metadata {
    /// The user who wrote it, or `system`.
    pub actor: Option<String>,
    /// The request that it came with.
    pub request_id: Option<String>,
    /// The instance that recorded it first, for mirrored events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// One event to be appended.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The item or action.
    pub stream_id: Uuid,
    /// Its number within the stream, from 1: holds only if the stream is at `version - 1` now.
    pub version: i32,
    /// Identity of the event.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// The resulting state, without private values.
    pub payload: Box<RawValue>,
    /// Who and why.
    pub metadata: Metadata,
    /// The private half that belongs to this version; stored apart from the log.
    pub private: Option<Box<RawValue>>,
    /// The peer that this event is owed to, as its lane is keyed.
    pub destination: Option<String>,
}

/// The record that makes a keyed call answer the same way again (CONTRACT 1.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The user, or the source instance.
    pub caller: String,
    /// The route that was called.
    pub route: String,
    /// The key as sent.
    pub key: String,
    /// SHA-256 of the body as canonical JSON.
    pub digest: Vec<u8>,
    /// Status of the answer.
    pub status: i32,
    /// The stream and version that the answer is made from.
    pub stream_id: Uuid,
    /// See `stream_id`.
    pub version: i32,
}

/// One number of a sender's lane that has arrived here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxMark {
    /// The sending instance.
    pub origin: String,
    /// The lane's network: that of the actions' targets, so not always that of the log that takes the events in.
    pub network: String,
    /// This instance, as the sender keys its lane.
    pub destination: String,
    /// Epoch of the sender's log.
    pub epoch: Uuid,
    /// The dense number in the lane.
    pub seq: i64,
}

/// What one client wants to happen: all of it, or none.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Events, in order; several of one stream have consecutive versions.
    pub events: Vec<NewEvent>,
    /// Streams that must still be open when this commits.
    pub guards: Vec<Uuid>,
    /// Commits with the events.
    pub idempotency: Option<IdempotencyRecord>,
    /// Numbers to mark as arrived, in the same commit.
    pub inbox: Vec<InboxMark>,
}

impl Command {
    /// A command of one event.
    #[must_use]
    pub fn of(event: NewEvent) -> Self {
        Self { events: vec![event], ..Self::default() }
    }
}

/// How a command fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Durable.
    Won {
        /// Position of the command's last event; `None` for a command without events.
        position: Option<i64>,
        /// The log's time for it.
        recorded_at: DateTime<Utc>,
    },
    /// A version or a guard did not hold: load again and decide again. Nothing was written.
    Conflict,
    /// The idempotency key is taken: answer from its record. Nothing was written.
    Replayed,
}

/// The last event of a stream, with the stream's head.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The network whose log holds it.
    pub network: String,
    /// What it is about.
    pub stream_type: StreamType,
    /// Number of events.
    pub version: i32,
    /// Position of the last event.
    pub position: i64,
    /// Position of the first event.
    pub first_position: i64,
    /// False once it has ended.
    pub open: bool,
    /// When the last event was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The state after the last event.
    pub payload: Box<RawValue>,
}

/// An event as it stands in the log.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Dense from 1 within its network.
    pub position: i64,
    /// The item or action.
    pub stream_id: Uuid,
    /// Dense from 1 within its stream.
    pub version: i32,
    /// Identity.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// The resulting state.
    pub payload: Box<RawValue>,
    /// Who and why.
    pub metadata: Box<RawValue>,
}
