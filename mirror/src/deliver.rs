//! One event over the single form, which every peer understands: `POST /api/v1/event/store`.

use chrono::{DateTime, Utc};
use url::Url;

use crate::body::EventBody;
use crate::outcome::{Verdict, judge};
use crate::peer::PeerClient;

const EVENT_STORE: &str = "/api/v1/event/store";

/// Sends an event to a peer and judges the answer as of `now`, read when the answer is there.
pub(crate) async fn deliver(
    client: &PeerClient,
    url: &Url,
    event: &EventBody,
    now: impl Fn() -> DateTime<Utc>,
) -> Verdict {
    let answer = client.post(url, EVENT_STORE, event.json.clone(), &[]).await;
    judge(&answer, event.identity, now())
}
