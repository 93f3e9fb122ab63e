//! Taking in a batch of one sender's lane: CONTRACT 4.14a after trust. Each event is judged as it would be alone; those that
//! are new are appended together, the events of one action as one command, and the lane's mark moves with them.

use std::collections::{BTreeSet, HashMap};

use dpg_eventstore::append::AppendError;
use dpg_eventstore::inbox::{self, InboxLane};
use dpg_eventstore::read::{self, ReadError};
use dpg_eventstore::{Appended, Chain, Command, InboxMark, Metadata, NewEvent, Stream};
use dpg_mirror::capability::BATCH_EVENTS;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::mirrored::{
    Done, EventBody, Prepared, invalid, judge, known_action, known_event, prepare, read_event, says_the_same,
    store_prepared,
};
use super::trust::not_registered;
use crate::app::App;
use crate::commands::mirrored::Mirrored;
use crate::commands::payload::{ActionPayload, LoadedAction, parse};
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::http::fields::{Fields, Place, read_body};
use crate::http::scalars::{instance_url, integer, name, uuid, value};
use crate::writes::Effect;

/// A body of 4.14a.
#[derive(Debug, Default)]
pub struct Batch {
    /// The instance that speaks.
    pub origin: String,
    /// The lane's network.
    pub network: String,
    /// We, as the sender keys its lane.
    pub destination: String,
    epoch: Uuid,
    events: Vec<(i64, Value)>,
    withdrawn: Vec<i64>,
}

/// Reads a body of 4.14a. The events in it are read one by one later: a fault of one costs the others nothing.
pub fn read_batch(f: &mut Fields<'_>) -> Batch {
    let batch = Batch {
        origin: f.required("origin_instance_domain", instance_url),
        network: f.required("network", name),
        destination: f.required("destination", instance_url),
        epoch: f.required("epoch", uuid),
        events: f.required("events", |place| place.each(entry)),
        withdrawn: f.optional("withdrawn", |place| place.each(integer_of_a_lane)).unwrap_or_default(),
    };
    if batch.events.len() > BATCH_EVENTS {
        f.fault("events", format!("must have at most {BATCH_EVENTS} elements"));
    }
    if !batch.events.is_sorted_by(|(one, _), (next, _)| one < next) {
        f.fault("events", "must be in ascending order of seq");
    }
    batch
}

fn entry(place: &mut Place<'_>) -> Option<(i64, Value)> {
    place.fields(|f| (f.required("seq", integer_of_a_lane), f.required("event", value)))
}

fn integer_of_a_lane(place: &mut Place<'_>) -> Option<i64> {
    integer(1..=i64::MAX)(place)
}

/// What is told about a batch.
#[derive(Debug)]
pub struct Taken {
    /// The body of the answer.
    pub body: Value,
    /// The last event that the batch is about.
    pub effect: Option<Effect>,
}

/// What is told about one event.
#[derive(Debug)]
enum Outcome {
    Stored,
    Duplicate,
    Conflict,
    Rejected(ApiError),
    Retry,
}

impl Outcome {
    /// A refusal of the event is one for good; anything else may go away.
    fn of_error(error: ApiError) -> Self {
        if error.status.is_client_error() { Self::Rejected(error) } else { Self::Retry }
    }

    fn of_known(same: bool) -> Self {
        if same { Self::Duplicate } else { Self::Conflict }
    }

    fn to_json(&self, seq: i64) -> Value {
        match self {
            Self::Stored => json!({"seq": seq, "outcome": "stored"}),
            Self::Duplicate => json!({"seq": seq, "outcome": "duplicate"}),
            Self::Conflict => json!({"seq": seq, "outcome": "conflict"}),
            Self::Retry => json!({"seq": seq, "outcome": "retry"}),
            Self::Rejected(error) => json!({"seq": seq, "outcome": "rejected", "status": error.status.as_u16(),
                                            "error": error.code, "message": error.message}),
        }
    }
}

/// Takes in a batch whose sender is trusted and whose destination is this instance.
///
/// # Errors
/// 503 when nothing can be said about any of it.
pub async fn store_batch(app: &App, batch: Batch, metadata: &Metadata) -> Result<Taken, ApiError> {
    let origin = InstanceUrl::parse(&batch.origin).map_err(|error| ApiError::internal(&error))?;
    let destination = InstanceUrl::parse(&batch.destination).map_err(|error| ApiError::internal(&error))?;
    let lane = InboxLane {
        origin: origin.normalised().to_owned(),
        network: batch.network,
        destination: destination.normalised().to_owned(),
        epoch: batch.epoch,
    };
    let mut taking = Taking { app, lane, metadata, outcomes: HashMap::new(), effect: None };
    let mut read = Vec::new();
    for (seq, event) in &batch.events {
        match taking.read(event, &origin) {
            Ok(body) => read.push((*seq, body)),
            Err(error) => taking.settle(*seq, Outcome::of_error(error)),
        }
    }
    taking.store(read).await?;
    let settled = taking.outcomes.iter().filter(|(_, outcome)| !matches!(outcome, Outcome::Stored | Outcome::Retry));
    let arrived: Vec<i64> = settled.map(|(seq, _)| *seq).chain(batch.withdrawn).collect();
    let high_water = inbox::mark(&app.database, &taking.lane, &arrived).await?;
    let results: Vec<Value> = (batch.events.iter())
        .map(|(seq, _)| taking.outcomes.get(seq).unwrap_or(&Outcome::Retry).to_json(*seq))
        .collect();
    Ok(Taken { body: json!({"results": results, "high_water": high_water}), effect: taking.effect })
}

/// A batch on its way into the log.
struct Taking<'a> {
    app: &'a App,
    lane: InboxLane,
    metadata: &'a Metadata,
    outcomes: HashMap<i64, Outcome>,
    effect: Option<Effect>,
}

/// The events of one action that came in one batch, in order.
type OfAction = Vec<(i64, Prepared)>;

/// What one append is asked for.
struct Plan {
    network: String,
    action: Uuid,
    events: Vec<NewEvent>,
    /// Their numbers, and the events again for the case that they have to be stored one by one.
    numbered: OfAction,
}

impl Taking<'_> {
    /// Steps 1 and 2 of CONTRACT 4.14, and what all events of a batch have in common.
    fn read(&self, event: &Value, origin: &InstanceUrl) -> Result<EventBody, ApiError> {
        let body = read_body(event, read_event)?;
        let (source, target) = (&body.source.item, &body.target.item);
        if target.network != self.lane.network {
            return Err(invalid("The target item is of another network than the batch."));
        }
        if !InstanceUrl::parse(&body.origin).is_ok_and(|url| url == *origin) {
            return Err(invalid("The event is of another origin than the batch."));
        }
        if !self.app.contracts.serves(&source.network, &source.domain) {
            return Err(self.app.contracts.unserved(&source.network, &source.domain));
        }
        body.check_network(self.app)?;
        if self.app.contracts.registered(&target.network, &target.domain, origin).is_none() {
            return Err(not_registered());
        }
        Ok(body)
    }

    fn settle(&mut self, seq: i64, outcome: Outcome) {
        self.outcomes.insert(seq, outcome);
    }

    fn done(&mut self, seq: i64, network: &str, action: Uuid, done: &Done) {
        self.at(network, action, done.position);
        self.settle(seq, if done.new { Outcome::Stored } else { Outcome::of_known(!done.conflict) });
    }

    fn at(&mut self, network: &str, stream: Uuid, position: i64) {
        if self.effect.as_ref().is_none_or(|effect| effect.position <= position) {
            self.effect = Some(Effect { network: network.to_owned(), position, stream });
        }
    }

    fn mark(&self, seq: i64) -> InboxMark {
        let InboxLane { origin, network, destination, epoch } = self.lane.clone();
        InboxMark { origin, network, destination, epoch, seq }
    }

    /// Stores what can be stored. Whatever is not settled afterwards is to be tried again.
    async fn store(&mut self, events: Vec<(i64, EventBody)>) -> Result<(), ReadError> {
        // The turns of all actions are held from the look at them to the commit.
        let turns = self.app.streams.lock_all(events.iter().map(|(_, body)| body.action_id)).await;
        let ids: BTreeSet<Uuid> = events.iter().flat_map(|(_, body)| [body.action_id, body.source.item.id]).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let streams = read::load_all(&self.app.database, &ids).await?;
        let plans = self.plan(events, &streams).await;
        let appends = plans.iter().map(|plan| {
            let inbox = plan.numbered.iter().map(|(seq, _)| self.mark(*seq)).collect();
            self.app.log.append(&plan.network, Command { events: plan.events.clone(), inbox, ..Command::default() })
        });
        let appended = join_all(appends).await;
        drop(turns);
        for (plan, appended) in plans.into_iter().zip(appended) {
            match appended {
                Ok(Appended::Won { position, .. }) => {
                    self.at(&plan.network, plan.action, position.unwrap_or_default());
                    for (seq, _) in &plan.numbered {
                        self.settle(*seq, Outcome::Stored);
                    }
                }
                // Another process was faster, or one of them can't be stored: each on its own.
                Ok(Appended::Conflict | Appended::Replayed) | Err(AppendError::Rejected(_)) => {
                    self.one_by_one(plan).await;
                }
                // Not settled, so told as `retry`; what may have been written all the same is a duplicate then.
                Err(error) => tracing::warn!(network = plan.network, error = %Chain(&error), "a batch was not taken"),
            }
        }
        Ok(())
    }

    async fn plan(&mut self, events: Vec<(i64, EventBody)>, streams: &HashMap<Uuid, Stream>) -> Vec<Plan> {
        let mut actions: Vec<(Uuid, OfAction)> = Vec::new();
        for (seq, body) in events {
            let action = body.action_id;
            let source = streams.get(&body.source.item.id);
            match prepare(self.app, body, source) {
                Ok(prepared) => match actions.iter_mut().find(|(known, _)| *known == action) {
                    Some((_, of_action)) => of_action.push((seq, prepared)),
                    None => actions.push((action, vec![(seq, prepared)])),
                },
                Err(error) => self.settle(seq, Outcome::of_error(error)),
            }
        }
        let mut plans = Vec::with_capacity(actions.len());
        for (action, events) in actions {
            let plan = self.plan_action(action, events, streams.get(&action)).await;
            plans.extend(Some(plan).filter(|plan| !plan.events.is_empty()));
        }
        plans
    }

    /// Decides about the events of one action, each on the state that the one before leaves.
    async fn plan_action(&mut self, action: Uuid, events: OfAction, stream: Option<&Stream>) -> Plan {
        let network = events.first().map(|(_, prepared)| prepared.network.clone()).unwrap_or_default();
        let mut plan = Plan { network, action, events: Vec::new(), numbered: Vec::new() };
        let mut known = match known_action(stream, &plan.network) {
            Ok(known) => known,
            Err(error) => {
                for (seq, _) in events {
                    self.settle(seq, Outcome::of_error(error.clone()));
                }
                return plan;
            }
        };
        let mut written: Vec<ActionPayload> = Vec::new();
        for (seq, prepared) in events {
            match judge(known.as_ref(), &prepared, self.metadata.clone()) {
                Ok(Mirrored::New(new)) => match parse::<ActionPayload>(&new.payload) {
                    Ok(payload) => {
                        known = Some(after(&payload, new.version));
                        written.push(payload);
                        plan.events.push(*new);
                        plan.numbered.push((seq, prepared));
                    }
                    Err(error) => self.settle(seq, Outcome::of_error(ApiError::internal(&error))),
                },
                Ok(Mirrored::Known) => self.known(seq, &plan.network, &prepared, &written).await,
                Err(error) => self.settle(seq, Outcome::of_error(error)),
            }
        }
        plan
    }

    /// An event that was here before, or that the same batch has brought already.
    async fn known(&mut self, seq: i64, network: &str, prepared: &Prepared, written: &[ActionPayload]) {
        let event = &prepared.event;
        let count = event.state.update_count;
        if let Some(payload) = written.iter().find(|payload| payload.event.update_count == count) {
            // Settled only if that one is: whoever sends it again is told then.
            tracing::debug!(seq, update_count = count, "a batch brings an event twice");
            let outcome = Outcome::of_known(says_the_same(&payload.event, event));
            return self.settle(seq, outcome);
        }
        match known_event(self.app, network, event).await {
            Ok(done) => self.done(seq, network, event.state.action_id, &done),
            Err(error) => self.settle(seq, Outcome::of_error(error)),
        }
    }

    async fn one_by_one(&mut self, plan: Plan) {
        for (seq, prepared) in plan.numbered {
            let mark = self.mark(seq);
            match store_prepared(self.app, &prepared, self.metadata, Some(&mark)).await {
                Ok(done) => self.done(seq, &plan.network, plan.action, &done),
                Err(error) => self.settle(seq, Outcome::of_error(error)),
            }
        }
    }
}

/// The action after an event that commits together with the next. Times that the log has yet to give stay open: all events
/// of one append have the same.
fn after(payload: &ActionPayload, version: i32) -> LoadedAction {
    LoadedAction {
        state: payload.action.clone(),
        seen: payload.seen.clone(),
        remarks_count: payload.remarks_count,
        version,
        position: 0,
    }
}
