//! How the parts of the instances become one page. Without a cursor the page is cut out of the counts laid end to end;
//! with one, every instance that has not come to its end goes on from its own place, in document order. Either way rows
//! are never sorted again: document order, and inside an instance newest first.

use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Asked;
use super::cursor::{Place, Walk};
use super::member::{self, Heard, Member, Part, Who};
use super::plan;
use super::reason::Reason;
use crate::app::App;
use crate::cache::{Answer, Version};
use crate::http::page::Start;
use crate::http::{ApiError, Fault};

/// A page under construction. The lists are in document order, one entry for each instance.
struct Build<'a> {
    app: &'a App,
    asked: &'a Asked,
    members: &'a [Member],
    counts: Vec<Option<i64>>,
    failed: Vec<Option<Reason>>,
    walk: Walk,
    rows: Vec<Box<RawValue>>,
    version: Option<i32>,
}

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
    let mut build = Build::count(app, asked, &members, version).await?;
    match walk {
        None => build.cut().await?,
        Some(walk) => build.go_on(walk).await?,
    }
    build.answer(&query)
}

fn not_a_cursor() -> ApiError {
    ApiError::validation(vec![Fault::new("/cursor", "is not a cursor of this query")])
}

impl<'a> Build<'a> {
    /// Counts every instance. Alone, we need no count to know whose turn it is: our total comes with the rows.
    async fn count(app: &'a App, asked: &'a Asked, members: &'a [Member], version: Version) -> Result<Self, ApiError> {
        let counts = match members {
            [Member { who: Who::Us, .. }] => vec![Ok(i64::MAX)],
            members => try_join_all(members.iter().map(|member| member.count(app, asked, version))).await?,
        };
        let failed = counts.iter().map(|count| count.err()).collect();
        let counts = counts.into_iter().map(Result::ok).collect();
        let walk = Walk(vec![None; members.len()]);
        Ok(Self { app, asked, members, counts, failed, walk, rows: Vec::new(), version: None })
    }

    async fn part(&self, instance: usize, place: &Place, limit: i64) -> Heard<Part> {
        match self.members.get(instance) {
            Some(member) => member.part(self.app, self.asked, place, limit).await,
            None => Ok(Err(Reason::NotServed)),
        }
    }

    /// Cuts the page out of the counts.
    async fn cut(&mut self) -> Result<(), ApiError> {
        let offset = self.asked.offset();
        let slices = plan::page(&self.counts, offset, self.asked.page.limit);
        let end = offset.saturating_add(self.asked.page.limit);
        for (instance, place) in self.walk.0.iter_mut().enumerate() {
            let keeps_its_place = self.failed.get(instance).copied().flatten().is_some();
            *place = (keeps_its_place || plan::ends_after(&self.counts, instance, end)).then(Place::default);
        }
        let asking = slices.iter().map(|slice| async {
            let place = Place { given: slice.offset, cursor: None };
            let heard = self.part(slice.instance, &place, slice.length).await?;
            Ok::<_, ApiError>((slice.instance, place, heard))
        });
        for (instance, place, heard) in try_join_all(asking).await? {
            match heard {
                Ok(part) => self.take(instance, part),
                Err(reason) => self.fail(instance, reason, place),
            }
        }
        self.end_those_without_rows();
        Ok(())
    }

    /// Goes on with a walk. The counts only say how far a page will most likely reach: whoever has a cursor is asked for
    /// all that may still fit. Behind the first instance that has more the page ends, and what does not fit as a whole is
    /// left for the next page, so every place in the cursor stays exact.
    async fn go_on(&mut self, walk: Walk) -> Result<(), ApiError> {
        let mut left = self.asked.page.limit;
        let mut turns = Vec::new();
        for (instance, place) in walk.0.iter().enumerate() {
            let (Some(place), Some(Some(count))) = (place, self.counts.get(instance)) else { continue };
            let expected = count.saturating_sub(place.given).max(0);
            let is_over = expected == 0 && place.cursor.is_none();
            if left > 0 && !is_over {
                turns.push((instance, place.clone(), left));
                left = left.saturating_sub(expected.max(1));
            }
        }
        self.walk = walk;
        let asking = turns.into_iter().map(|(instance, place, limit)| {
            let build = &*self;
            async move {
                let heard = build.part(instance, &place, limit).await?;
                Ok::<_, ApiError>((instance, place, heard))
            }
        });
        let (mut room, mut full) = (self.asked.page.limit, false);
        for (instance, place, heard) in try_join_all(asking).await? {
            match heard {
                Err(reason) => self.fail(instance, reason, place),
                Ok(part) if !full && part.length() <= room => {
                    room -= part.length();
                    full = part.next.is_some();
                    self.take(instance, part);
                }
                Ok(_) => full = true,
            }
        }
        self.end_those_without_rows();
        Ok(())
    }

    /// Whoever goes by offset and has no rows behind it has come to its end.
    fn end_those_without_rows(&mut self) {
        for (place, count) in self.walk.0.iter_mut().zip(&self.counts) {
            let over = |place: &Place| place.cursor.is_none() && count.is_some_and(|count| count <= place.given);
            if place.as_ref().is_some_and(over) {
                *place = None;
            }
        }
    }

    fn take(&mut self, instance: usize, part: Part) {
        if let (Some(count), Some(total)) = (self.counts.get_mut(instance), part.total) {
            *count = Some(total);
        }
        if part.faulty {
            set(&mut self.failed, instance, Some(Reason::BadResponse));
        }
        set(&mut self.walk.0, instance, part.next);
        self.version = part.version;
        self.rows.extend(part.rows);
    }

    /// Neither rows nor count; the place is kept. A cursor that the instance would not read is given up for an offset.
    fn fail(&mut self, instance: usize, reason: Reason, mut place: Place) {
        if reason == Reason::HttpError {
            place.cursor = None;
        }
        set(&mut self.failed, instance, Some(reason));
        set(&mut self.counts, instance, None);
        set(&mut self.walk.0, instance, Some(place));
    }

    fn answer(self, query: &impl std::fmt::Debug) -> Result<Answer, ApiError> {
        let failed = self.members.iter().zip(&self.failed);
        let unavailable: Vec<Unavailable<'_>> = failed
            .filter_map(|(member, reason)| Some(Unavailable { instance_url: member.url.as_str(), reason: (*reason)? }))
            .collect();
        let partial = !unavailable.is_empty();
        let next_cursor = match self.walk.has_ended() {
            true => None,
            false => Some(self.walk.encode(query).map_err(|error| ApiError::internal(&error))?),
        };
        let meta = Meta {
            total: self.counts.iter().flatten().fold(0, |sum: i64, count| sum.saturating_add(*count)),
            limit: self.asked.page.limit,
            offset: self.asked.offset(),
            next_cursor,
            partial,
            unavailable_instances: unavailable,
        };
        let version = self.version.filter(|_| self.rows.len() == 1);
        let body = serde_json::to_vec(&Body { meta, items: &self.rows }).map_err(|error| ApiError::internal(&error))?;
        Ok(Answer { version, partial, ..Answer::new(body) })
    }
}

fn set<T>(list: &mut [T], at: usize, value: T) {
    if let Some(entry) = list.get_mut(at) {
        *entry = value;
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
