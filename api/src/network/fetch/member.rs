//! One instance of a domain, as a network page asks it: in this process when it is us, by a signed call when it is a peer.

use bytes::Bytes;
use dpg_mirror::PeerAnswer;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::Asked;
use super::assemble::{Heard, Part};
use super::cursor::Place;
use super::own;
use super::peers::Question;
use super::reason::Reason;
use super::rows::{self, Expected, Onward};
use crate::app::App;
use crate::cache::{Answer, Made, PageKey, Version};
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::http::page::{Page as PageQuery, Start};

/// What the contract says of an instance, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Us.
    Us,
    /// Us, for a pair that we do not serve.
    UsUnserved,
    /// Another instance.
    Peer,
}

/// An instance of the domain.
#[derive(Debug)]
pub(super) struct Member {
    /// Its first registered spelling.
    pub(super) url: InstanceUrl,
    /// Who it is.
    pub(super) who: Who,
}

/// The instances of the domain in document order, narrowed by `item_instance_url`.
#[must_use]
pub(super) fn of(app: &App, asked: &Asked) -> Vec<Member> {
    let filter = &asked.filter;
    let wanted = filter.instance_url.as_deref().map(InstanceUrl::parse);
    let serves = app.contracts.serves(&filter.network, &filter.domain);
    let network = app.contracts.network(&filter.network).into_iter();
    let instances = network.flat_map(|network| network.instances(&filter.domain));
    instances
        .filter(|instance| wanted.as_ref().is_none_or(|wanted| wanted.as_ref().is_ok_and(|url| *url == instance.url)))
        .map(|instance| {
            let who = match app.contracts.is_own(&instance.url) {
                true if serves => Who::Us,
                true => Who::UsUnserved,
                false => Who::Peer,
            };
            Member { url: instance.url.clone(), who }
        })
        .collect()
}

impl Member {
    /// How many rows it has. A peer's count is kept, without limit and offset, for as long as pages are.
    ///
    /// # Errors
    /// When our own database is away.
    pub(super) async fn count(&self, app: &App, asked: &Asked, version: Version) -> Heard<i64> {
        match self.who {
            Who::Us => own::count(app, &asked.filter).await.map(Ok),
            Who::UsUnserved => Ok(Err(Reason::NotServed)),
            Who::Peer => Ok(self.kept_count(app, asked, version).await),
        }
    }

    async fn kept_count(&self, app: &App, asked: &Asked, version: Version) -> Result<i64, Reason> {
        let body = Value::Object(self.body(asked));
        // The epoch tells us from others that keep pages in the same Redis.
        let key = json!({"epoch": version.epoch, "contract": app.contracts.version(), "ttl": asked.ttl.as_secs(),
                         "instance": self.url.normalised(), "filter": body});
        let ask = async {
            let answer = app.network_reads.ask(&self.url, Question::Count, bytes(&body)).await?;
            let count = rows::count(&answer.body).ok_or_else(|| self.bad("its count can't be read"))?;
            Ok::<_, Reason>(Made { answer: Answer::new(count.to_string()), keep: version.keep(asked.ttl) })
        };
        let served = app.pages.get_or_make(PageKey::of("network/item/count_local", key), ask).await?;
        let count = std::str::from_utf8(&served.answer.body).ok().and_then(|text| text.parse().ok());
        count.ok_or_else(|| self.bad("the kept count can't be read"))
    }

    /// `limit` rows from a place on.
    ///
    /// # Errors
    /// 400 for a cursor of our own that is not of this query; 503 when our own database is away.
    pub(super) async fn part(&self, app: &App, asked: &Asked, place: &Place, limit: i64) -> Heard<Part> {
        match self.who {
            Who::Us => self.own_part(app, asked, place, limit).await.map(Ok),
            Who::UsUnserved => Ok(Err(Reason::NotServed)),
            Who::Peer => Ok(self.peers_part(app, asked, place, limit).await),
        }
    }

    async fn own_part(&self, app: &App, asked: &Asked, place: &Place, limit: i64) -> Result<Part, ApiError> {
        let start = place.cursor.clone().map_or(Start::Offset(place.given), Start::Cursor);
        let page = own::page(app, &asked.filter, PageQuery { limit, start }).await?;
        let given = i64::try_from(page.rows.len()).unwrap_or(limit);
        let next = page.meta.next_cursor.map(|cursor| Place { given: place.given + given, cursor: Some(cursor) });
        let version = own::single_version(&asked.filter, &page.rows);
        let rows = page.rows.iter().map(to_raw_value).collect::<Result<_, _>>();
        let rows = rows.map_err(|error| ApiError::internal(&error))?;
        Ok(Part { rows, next, faulty: false, total: Some(page.meta.total), version })
    }

    async fn peers_part(&self, app: &App, asked: &Asked, place: &Place, limit: i64) -> Result<Part, Reason> {
        let mut body = self.body(asked);
        body.insert("limit".to_owned(), limit.into());
        match &place.cursor {
            Some(cursor) => body.insert("cursor".to_owned(), cursor.as_str().into()),
            None => body.insert("offset".to_owned(), place.given.into()),
        };
        let answer = app.network_reads.ask(&self.url, Question::Fetch, bytes(&Value::Object(body))).await?;
        self.checked(asked, place, limit, &answer)
    }

    fn checked(&self, asked: &Asked, place: &Place, limit: i64, answer: &PeerAnswer) -> Result<Part, Reason> {
        let filter = &asked.filter;
        let expected = Expected { network: &filter.network, domain: &filter.domain, instance: &self.url, limit };
        let checked = rows::check(&answer.body, expected).ok_or_else(|| self.bad("its page can't be read"))?;
        if checked.foreign > 0 {
            tracing::warn!(
                peer = self.url.as_str(),
                rows = checked.foreign,
                "rows with another instance's URL dropped"
            );
        }
        if checked.faulty {
            self.bad("some of its rows are no items of this domain");
        }
        let given = place.given.saturating_add(checked.given);
        let next = match checked.onward {
            Onward::Cursor(cursor) => Some(Place { given, cursor: Some(cursor) }),
            // Who gives fewer rows than it was asked for has no more.
            Onward::Offset if checked.given == limit => Some(Place { given, cursor: None }),
            Onward::Offset | Onward::End => None,
        };
        Ok(Part { rows: checked.rows, next, faulty: checked.faulty, total: None, version: None })
    }

    /// The filters as they go to this peer: an instance's URL in its own spelling, which some compare as text.
    fn body(&self, asked: &Asked) -> Map<String, Value> {
        let mut body = asked.filter.to_body();
        if let Some(url) = body.get_mut("item_instance_url") {
            *url = self.url.as_str().into();
        }
        body
    }

    fn bad(&self, what: &'static str) -> Reason {
        tracing::warn!(peer = self.url.as_str(), what, "a peer's answer to a network page is not as it should be");
        Reason::BadResponse
    }
}

fn bytes(body: &Value) -> Bytes {
    Bytes::from(body.to_string())
}
