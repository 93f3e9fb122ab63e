//! What a lane's task makes of the peer's mark: it asks for it when there is nothing to send, and goes back to it when the
//! peer has lost what it acknowledged (CONTRACT 4.14a).

use super::{Sent, Task};
use crate::hold::{Grip, Hold};
use crate::lane::State;
use crate::mark::Told;
use crate::metrics::Fault;
use crate::{LaneKey, MirrorError, batch, queries};

impl Task<'_> {
    /// The peer told its mark.
    pub(super) async fn told(&mut self, hold: &mut Hold, high_water: i64, settled: i64) -> Result<Told, MirrorError> {
        let now = self.now();
        self.alone.retain(|seq| *seq > high_water);
        self.dropped.retain(|seq| *seq > high_water);
        if high_water > settled {
            // What goes again is behind the mark of a peer that is well; what was never given out is not.
            let last_seq = queries::last_seq(&self.means.db, hold.key()).await?;
            if high_water > last_seq {
                self.means.metrics.fault(Fault::MarkBeyondLane);
                let LaneKey { network, destination } = hold.key();
                tracing::error!(
                    network,
                    destination,
                    high_water,
                    last_seq,
                    "a peer has more than this log ever sent: was it restored without a new epoch?"
                );
            }
        }
        Ok(hold.mark().told(high_water, settled, now))
    }

    pub(super) async fn refill(&mut self, hold: &mut Hold) -> Result<Sent, MirrorError> {
        let (mark, settled) = (hold.mark().high_water, hold.settled_seq());
        let LaneKey { network, destination } = hold.key();
        tracing::warn!(network, destination, mark, settled, "a peer is behind what it acknowledged; it is sent again");
        self.means.metrics.refilled(hold.key());
        Ok(if hold.refill(self.now()).await? == Grip::Held { Sent::Back } else { Sent::Gone })
    }

    /// Nothing is left to send. Once an hour the peer is asked for its mark, so that a loss on its side is seen without any
    /// traffic. Held means that there is something to send again.
    pub(super) async fn rest(&mut self, hold: &mut Hold) -> Result<Grip, MirrorError> {
        let now = self.now();
        let lets_us_in = matches!(hold.lane().state, State::Ready | State::BackingOff);
        let asks = lets_us_in && (!self.alone.is_empty() || hold.mark().is_due(now));
        if asks && self.means.client.keyid().is_some() && self.ask(hold).await? == Sent::Back {
            return Ok(Grip::Held);
        }
        hold.release().await?;
        Ok(Grip::Gone)
    }

    /// Asks for the mark with an empty batch. The answer says nothing about delivery: the lane stays as it is, and the next
    /// event finds out.
    async fn ask(&mut self, hold: &mut Hold) -> Result<Sent, MirrorError> {
        let now = self.now();
        hold.mark().asked(now);
        let Some(url) = self.url(hold) else { return Ok(Sent::On) };
        let Some(limits) = self.batches(hold, &url).await? else { return Ok(Sent::Gone) };
        if limits.is_none() {
            return Ok(Sent::On);
        }
        match self.exchange_batch(hold, &url, &[]).await? {
            None => Ok(Sent::Gone),
            Some(batch::Answer::Judged { high_water, .. }) => {
                let settled = hold.settled_seq();
                match self.told(hold, high_water, settled).await? {
                    Told::Behind => self.refill(hold).await,
                    Told::Fine => Ok(Sent::On),
                }
            }
            Some(batch::Answer::Refused(verdict) | batch::Answer::Failed(verdict)) => {
                let LaneKey { network, destination } = hold.key();
                let (status, error) = (verdict.status, &verdict.error);
                tracing::warn!(network, destination, status, error, "an idle peer did not tell its mark");
                self.means.capabilities.forget(&hold.key().destination);
                Ok(Sent::On)
            }
        }
    }
}
