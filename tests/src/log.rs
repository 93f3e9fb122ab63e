//! Checks of what is stored: the log's own order, the projections against it, the outbox against it, and the two sides
//! of an action against each other.

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::wait::{check, eventually};
use crate::{Instance, User};

/// How long events may take to be folded or mirrored on a loaded machine when nothing is in their way.
pub const SOON: Duration = Duration::from_secs(60);

/// The last position of a network's log, 0 without one.
///
/// # Panics
/// When the database refuses.
pub async fn head(client: &Client, network: &str) -> i64 {
    let row =
        client.query_opt("select position from log_head where network = $1", &[&network]).await.expect("the head");
    row.map_or(0, |row| row.get(0))
}

/// Asserts that positions are dense from 1 to the head, that times never go back, and that versions are dense in every
/// stream.
///
/// # Panics
/// When they are not.
pub async fn assert_dense(client: &Client, network: &str) {
    let head = head(client, network).await;
    let row = client
        .query_one(
            "select count(*), coalesce(min(position), 1), coalesce(max(position), 0),
                    coalesce(bool_and(in_time), true), coalesce(bool_and(in_version), true)
               from (select position,
                            recorded_at >= coalesce(lag(recorded_at) over (order by position), '-infinity') as in_time,
                            version = row_number() over (partition by stream_id order by position) as in_version
                       from event_log where network = $1) as log",
            &[&network],
        )
        .await
        .expect("the log");
    let (count, first, last): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((count, first, last), (head, 1, head), "positions of {network} are not dense: (count, first, last)");
    assert!(row.get::<_, bool>(3), "recorded_at goes back in {network}");
    assert!(row.get::<_, bool>(4), "versions of a stream in {network} are not dense");
}

/// Waits until every projection of every network has reached the log's head.
pub async fn projected(client: &Client) {
    let query = "select h.network, h.position, count(c.*), coalesce(min(c.position), 0)
                   from log_head h left join projection_checkpoints c using (network)
                  where h.position > 0 group by h.network, h.position";
    eventually("the projections reach the head", SOON, || async {
        let rows = client.query(query, &[]).await.map_err(|error| error.to_string())?;
        let behind = rows.iter().find(|row| row.get::<_, i64>(2) < 3 || row.get::<_, i64>(3) < row.get::<_, i64>(1));
        check(behind.is_none(), format!("{behind:?}"))
    })
    .await;
}

/// Checks an instance at rest with the operator's own command, and the log and outbox besides.
///
/// # Panics
/// When anything differs.
pub async fn verify(instance: &Instance) {
    let client = instance.database.client().await;
    projected(&client).await;
    let output = instance.run(&["verify"]).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "dpg verify found differences ({}):\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    for row in client.query("select network from log_head", &[]).await.expect("the heads") {
        let network: String = row.get(0);
        assert_dense(&client, &network).await;
        assert_outbox_complete(&client, &network).await;
    }
}

/// Asserts that the outbox holds exactly the events whose source item lives elsewhere, each once, numbered densely in log
/// order.
///
/// # Panics
/// When it does not.
pub async fn assert_outbox_complete(client: &Client, network: &str) {
    let row = client
        .query_one(
            "with owed as (
                select position from event_log
                 where network = $1 and event_type in ('action.performed', 'action.status_updated')
                   and not (payload->'action'->>'source_here')::bool
             ), kept as (
                select position, destination, seq,
                       row_number() over (partition by destination order by position) as rank
                  from outbox where network = $1
             )
             select (select count(*) from owed where position not in (select position from kept)),
                    (select count(*) from kept where position not in (select position from owed)),
                    (select count(*) from kept where seq <> rank),
                    (select count(*) from kept) - (select count(distinct position) from kept)",
            &[&network],
        )
        .await
        .expect("the outbox");
    let counts: [i64; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
    assert_eq!(counts, [0; 4], "outbox of {network}: missing, not owed, numbered out of order, more than once");
}

/// Waits until a user sees an action at an `update_count` or beyond, and its last event too (rows and events are projected
/// independently), and gives it back.
pub async fn arrives(user: &User, action: &str, update_count: i64) -> Value {
    eventually(&format!("action {action} at {update_count}"), SOON, || async {
        let found = user.action(action).await;
        match found {
            Some(found) if found["update_count"].as_i64() >= Some(update_count) => {
                let events = user.events(action).await;
                let told = events.iter().any(|event| event["update_count"] == found["update_count"]);
                if told { Ok(found) } else { Err(format!("the row without its event: {found}")) }
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Asserts that both sides of an action tell the same story: counts 0..k once each, the row equal to the last event, and
/// the same events with the same identities and contents. Gives the events back.
///
/// # Panics
/// When they differ.
pub async fn assert_same_story(source: &User, target: &User, action: &str) -> Vec<Value> {
    let events = target.events(action).await;
    let mirrored = source.events(action).await;
    let counts: Vec<i64> = events.iter().filter_map(|event| event["update_count"].as_i64()).collect();
    let expected: Vec<i64> = (0..).take(events.len()).collect();
    assert_eq!(counts, expected, "events of {action} at its own instance");
    let keys = ["event_id", "update_count", "action_status", "event_payload", "remarks", "origin_instance_domain"];
    let story = |events: &[Value]| -> Vec<Vec<Value>> {
        events.iter().map(|event| keys.iter().map(|key| event[key].clone()).collect()).collect()
    };
    assert_eq!(story(&mirrored), story(&events), "the two sides of {action} differ");
    for user in [source, target] {
        let row = user.action(action).await.expect("the action");
        let last = events.last().expect("an action has an event");
        assert_eq!(row["update_count"], last["update_count"], "row and last event of {action}");
        assert_eq!(row["action_status"], last["action_status"], "row and last event of {action}");
    }
    events
}

/// A reader that follows a network's log while it is written, as a projector or an export would.
pub struct Tail {
    stop: CancellationToken,
    reading: JoinHandle<Vec<i64>>,
}

impl Tail {
    /// Starts reading from the beginning, as fast as the database answers.
    #[must_use]
    pub fn follow(client: Client, network: &str) -> Self {
        let (stop, network) = (CancellationToken::new(), network.to_owned());
        let stopped = stop.clone();
        let reading = tokio::spawn(async move {
            let query =
                "select position from event_log where network = $1 and position > $2 order by position limit 1000";
            let mut seen: Vec<i64> = Vec::new();
            loop {
                // Asked before reading, so that the last look comes after the last write.
                let last_look = stopped.is_cancelled();
                let rows = client.query(query, &[&network, &seen.last().copied().unwrap_or(0)]).await.expect("the log");
                seen.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
                if rows.is_empty() {
                    if last_look {
                        return seen;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        Self { stop, reading }
    }

    /// Reads to the end and gives back every position in the order in which it was seen.
    ///
    /// # Panics
    /// When the reader failed.
    pub async fn finish(self) -> Vec<i64> {
        self.stop.cancel();
        self.reading.await.expect("the reader ran to its end")
    }
}
