//! One event over the single form, which every peer understands: `POST /api/v1/event/store`.

use chrono::{DateTime, Utc};
use url::Url;

use crate::body::EventBody;
use crate::outcome::{Expected, Verdict, judge};
use crate::peer::PeerClient;

const EVENT_STORE: &str = "/api/v1/event/store";

/// Sends an event to a peer, which may be of our `own_make`, and judges the answer as of `now`, read when it is there.
pub(crate) async fn deliver(
    client: &PeerClient,
    url: &Url,
    event: &EventBody,
    own_make: bool,
    now: impl Fn() -> DateTime<Utc>,
) -> Verdict {
    let answer = client.post(url, EVENT_STORE, event.json.clone(), &[]).await;
    let expected = if own_make { Expected::Exactly(event.identity) } else { Expected::AtMost(event.identity) };
    judge(&answer, expected, now())
}
