//! One network page, from the query to the body of the answer.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Asked;
use super::assemble::{Assembled, Heard, Instances, Part, assemble};
use super::cursor::{Place, Walk};
use super::member::{self, Member, Who};
use super::reason::Reason;
use crate::app::App;
use crate::cache::{Answer, Version};
use crate::http::page::Start;
use crate::http::{ApiError, Fault};

/// Makes the page; `version` is that of our own rows, read before them.
///
/// # Errors
/// 400 for a cursor that is not of this query; 503 for too many fan-outs, and when our own database is away.
pub(super) async fn make(app: &App, asked: &Asked, version: Version) -> Result<Answer, ApiError> {
    let members = member::of(app, asked);
    let query = (&asked.filter, members.iter().map(|member| member.url.normalised()).collect::<Vec<_>>());
    let walk = match &asked.page.start {
        Start::Offset(_) => None,
        Start::Cursor(text) => Some(Walk::decode(text, &query, members.len()).ok_or_else(not_a_cursor)?),
    };
    let peers = members.iter().any(|member| member.who == Who::Peer);
    let _leave = if peers { Some(app.network_reads.fan_out()?) } else { None };
    let asking = Asking { app, asked, members: &members, version };
    let assembled = assemble(&asking, asked.offset(), asked.page.limit, walk).await?;
    answer(asked, &members, &assembled, &query)
}

fn not_a_cursor() -> ApiError {
    ApiError::validation(vec![Fault::new("/cursor", "is not a cursor of this query")])
}

/// The members, asked on behalf of one page.
struct Asking<'a> {
    app: &'a App,
    asked: &'a Asked,
    members: &'a [Member],
    version: Version,
}

impl Instances for Asking<'_> {
    fn number(&self) -> usize {
        self.members.len()
    }

    async fn count(&self, instance: usize) -> Heard<i64> {
        match (self.members, self.members.get(instance)) {
            // Alone, we need no count to know whose turn it is: our total comes with the rows.
            ([Member { who: Who::Us, .. }], _) => Ok(Ok(i64::MAX)),
            (_, Some(member)) => member.count(self.app, self.asked, self.version).await,
            (_, None) => Ok(Err(Reason::NotServed)),
        }
    }

    async fn part(&self, instance: usize, place: &Place, limit: i64) -> Heard<Part> {
        match self.members.get(instance) {
            Some(member) => member.part(self.app, self.asked, place, limit).await,
            None => Ok(Err(Reason::NotServed)),
        }
    }
}

/// CONTRACT 4.16.
#[derive(Serialize)]
struct Body<'a> {
    meta: Meta<'a>,
    items: &'a [Box<RawValue>],
}

#[derive(Serialize)]
struct Meta<'a> {
    total: i64,
    limit: i64,
    offset: i64,
    next_cursor: Option<String>,
    partial: bool,
    unavailable_instances: Vec<Unavailable<'a>>,
}

#[derive(Serialize)]
struct Unavailable<'a> {
    instance_url: &'a str,
    reason: Reason,
}

fn answer(
    asked: &Asked,
    members: &[Member],
    page: &Assembled,
    query: &impl std::fmt::Debug,
) -> Result<Answer, ApiError> {
    let failed = members.iter().zip(&page.failed);
    let unavailable: Vec<Unavailable<'_>> = failed
        .filter_map(|(member, reason)| Some(Unavailable { instance_url: member.url.as_str(), reason: (*reason)? }))
        .collect();
    let partial = !unavailable.is_empty();
    let next_cursor = match page.walk.has_ended() {
        true => None,
        false => Some(page.walk.encode(query).map_err(|error| ApiError::internal(&error))?),
    };
    let meta = Meta {
        total: page.total(),
        limit: asked.page.limit,
        offset: asked.offset(),
        next_cursor,
        partial,
        unavailable_instances: unavailable,
    };
    let version = page.version.filter(|_| page.rows.len() == 1);
    let body = serde_json::to_vec(&Body { meta, items: &page.rows }).map_err(|error| ApiError::internal(&error))?;
    Ok(Answer { version, partial, ..Answer::new(body) })
}
