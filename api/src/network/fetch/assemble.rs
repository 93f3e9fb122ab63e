//! How the parts of the instances become one page. Without a cursor the page is cut out of the counts laid end to end;
//! with one, every instance that has not come to its end goes on from its own place, in document order. Either way rows
//! are never sorted again: document order, and inside an instance newest first.

use futures_util::future::try_join_all;
use serde_json::value::RawValue;

use super::cursor::{Place, Walk};
use super::plan;
use super::reason::Reason;
use crate::http::ApiError;

/// An instance's answer, or why there is none. A failure of our own ends the page.
pub(super) type Heard<T> = Result<Result<T, Reason>, ApiError>;

/// The instances of a domain in document order, as a page asks them.
pub(super) trait Instances {
    /// How many there are.
    fn number(&self) -> usize;

    /// How many rows one has.
    async fn count(&self, instance: usize) -> Heard<i64>;

    /// At most `limit` rows of one, from a place on.
    async fn part(&self, instance: usize, place: &Place, limit: i64) -> Heard<Part>;
}

/// What an instance gave to a page.
#[derive(Debug)]
pub(super) struct Part {
    /// Its rows, checked.
    pub(super) rows: Vec<Box<RawValue>>,
    /// Where it goes on; `None` at its end.
    pub(super) next: Option<Place>,
    /// Whether it gave rows that are none.
    pub(super) faulty: bool,
    /// How many rows it has, told in the same breath: only we do.
    pub(super) total: Option<i64>,
    /// Version of our only row, when the page was narrowed to it.
    pub(super) version: Option<i32>,
}

impl Part {
    fn length(&self) -> i64 {
        i64::try_from(self.rows.len()).unwrap_or(i64::MAX)
    }
}

/// A page, whole or under construction. The lists have one entry for each instance.
#[derive(Debug)]
pub(super) struct Assembled {
    /// The rows.
    pub(super) rows: Vec<Box<RawValue>>,
    /// Why instances are missing, wholly or in some rows.
    pub(super) failed: Vec<Option<Reason>>,
    /// Where each goes on.
    pub(super) walk: Walk,
    /// The last part's version; of a page with one row, that row's.
    pub(super) version: Option<i32>,
    counts: Vec<Option<i64>>,
}

/// Counts every instance and puts the page together: `walk` goes on with an earlier page, else it is cut at `offset`.
///
/// # Errors
/// When our own part fails.
pub(super) async fn assemble(
    instances: &impl Instances,
    offset: i64,
    limit: i64,
    walk: Option<Walk>,
) -> Result<Assembled, ApiError> {
    let counts = try_join_all((0..instances.number()).map(|instance| instances.count(instance))).await?;
    let mut page = Assembled {
        rows: Vec::new(),
        failed: counts.iter().map(|count| count.err()).collect(),
        walk: Walk(vec![None; counts.len()]),
        version: None,
        counts: counts.into_iter().map(Result::ok).collect(),
    };
    match walk {
        None => page.cut(instances, offset, limit).await?,
        Some(walk) => page.go_on(instances, walk, limit).await?,
    }
    page.end_those_without_rows();
    Ok(page)
}

impl Assembled {
    /// The sum of the counts of those who did not fail.
    pub(super) fn total(&self) -> i64 {
        self.counts.iter().flatten().fold(0, |sum: i64, count| sum.saturating_add(*count))
    }

    /// Cuts the page out of the counts.
    async fn cut(&mut self, instances: &impl Instances, offset: i64, limit: i64) -> Result<(), ApiError> {
        let end = offset.saturating_add(limit);
        for (instance, (place, failed)) in self.walk.0.iter_mut().zip(&self.failed).enumerate() {
            // Our own URL for a pair that we don't serve has no rows to wait for.
            let keeps_its_place = failed.is_some_and(|reason| reason != Reason::NotServed);
            *place = (keeps_its_place || plan::ends_after(&self.counts, instance, end)).then(Place::default);
        }
        let turns = plan::page(&self.counts, offset, limit).into_iter();
        let turns = turns.map(|slice| (slice.instance, Place { given: slice.offset, cursor: None }, slice.length));
        for (instance, place, heard) in ask(instances, turns).await? {
            match heard {
                Ok(part) => self.take(instance, part),
                Err(reason) => self.fail(instance, reason, place),
            }
        }
        Ok(())
    }

    /// Goes on with a walk. The counts only say how far a page will most likely reach: whoever has a cursor is asked for
    /// all that may still fit. Behind the first instance that has more the page ends, and what does not fit as a whole is
    /// left for the next page, so every place in the cursor stays exact.
    async fn go_on(&mut self, instances: &impl Instances, walk: Walk, limit: i64) -> Result<(), ApiError> {
        let mut left = limit;
        let mut turns = Vec::new();
        for (instance, (place, count)) in walk.0.iter().zip(&self.counts).enumerate() {
            let (Some(place), Some(count)) = (place, count) else { continue };
            let expected = count.saturating_sub(place.given).max(0);
            let is_over = expected == 0 && place.cursor.is_none();
            if left > 0 && !is_over {
                turns.push((instance, place.clone(), left));
                left = left.saturating_sub(expected.max(1));
            }
        }
        self.walk = walk;
        let (mut room, mut full) = (limit, false);
        for (instance, place, heard) in ask(instances, turns.into_iter()).await? {
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
        if let Some(total) = part.total {
            set(&mut self.counts, instance, Some(total));
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
}

/// Asks several instances at the same time; the answers are in document order.
async fn ask(
    instances: &impl Instances,
    turns: impl Iterator<Item = (usize, Place, i64)>,
) -> Result<Vec<(usize, Place, Result<Part, Reason>)>, ApiError> {
    let asking = turns.map(|(instance, place, limit)| async move {
        let heard = instances.part(instance, &place, limit).await?;
        Ok((instance, place, heard))
    });
    try_join_all(asking).await
}

fn set<T>(list: &mut [T], at: usize, value: T) {
    if let Some(entry) = list.get_mut(at) {
        *entry = value;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;
    use proptest::prelude::*;
    use serde_json::value::to_raw_value;

    use super::*;

    /// An instance that exists on paper only. Its rows are numbered from 0.
    #[derive(Debug, Clone)]
    struct Simulated {
        rows: i64,
        /// What is kept of its count may be too low by this.
        too_low: i64,
        cursors: bool,
        /// On which pages it answers neither counts nor fetches, and on which no fetches.
        deaf: Vec<bool>,
        torn: Vec<bool>,
    }

    struct World {
        instances: Vec<Simulated>,
        page: Cell<usize>,
    }

    impl World {
        fn at(&self, instance: usize, pages: impl Fn(&Simulated) -> &Vec<bool>) -> bool {
            pages(&self.instances[instance]).get(self.page.get()).copied().unwrap_or(false)
        }
    }

    impl Instances for World {
        fn number(&self) -> usize {
            self.instances.len()
        }

        async fn count(&self, instance: usize) -> Heard<i64> {
            let Simulated { rows, too_low, .. } = &self.instances[instance];
            // An instance that seems empty is not waited for; one that is seen, is seen to its end.
            let count = if rows > too_low { rows - too_low } else { *rows };
            Ok(if self.at(instance, |all| &all.deaf) { Err(Reason::Timeout) } else { Ok(count) })
        }

        async fn part(&self, instance: usize, place: &Place, limit: i64) -> Heard<Part> {
            assert!(limit > 0);
            if self.at(instance, |all| &all.deaf) || self.at(instance, |all| &all.torn) {
                return Ok(Err(Reason::Timeout));
            }
            let Simulated { rows, cursors, .. } = self.instances[instance];
            let start = place.cursor.as_ref().map_or(place.given, |cursor| cursor.parse().unwrap());
            assert_eq!(start, place.given, "the rows given so far are counted right");
            let end = rows.min(start + limit);
            let next = match cursors {
                true => (end < rows).then(|| Place { given: end, cursor: Some(end.to_string()) }),
                false => (end - start == limit).then_some(Place { given: end, cursor: None }),
            };
            let rows = (start..end).map(|row| to_raw_value(&(instance, row)).unwrap()).collect();
            Ok(Ok(Part { rows, next, faulty: false, total: None, version: None }))
        }
    }

    fn numbers(page: &Assembled) -> Vec<(usize, i64)> {
        page.rows.iter().map(|row| serde_json::from_str(row.get()).unwrap()).collect()
    }

    fn simulated() -> impl Strategy<Value = Simulated> {
        let pages = || prop_oneof![Just(vec![]), proptest::collection::vec(any::<bool>(), 0..6)];
        (0..30_i64, 0..10_i64, any::<bool>(), pages(), pages()).prop_map(|(rows, too_low, cursors, deaf, torn)| {
            // Who gives no cursors is only as complete as its count.
            Simulated { rows, too_low: if cursors { too_low } else { 0 }, cursors, deaf, torn }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_walk_gives_every_row_once_whoever_fails_on_the_way(
            instances in proptest::collection::vec(simulated(), 0..6),
            limit in 1..=20_i64,
        ) {
            let world = World { instances, page: Cell::new(0) };
            let mut seen: Vec<(usize, i64)> = Vec::new();
            let mut walk = None;
            loop {
                let page = assemble(&world, 0, limit, walk.take()).now_or_never().unwrap().unwrap();
                let rows = numbers(&page);
                prop_assert!(rows.len() <= usize::try_from(limit).unwrap());
                prop_assert!(rows.is_sorted(), "document order, newest first: {:?}", rows);
                seen.extend(rows);
                if page.walk.has_ended() {
                    break;
                }
                // As it travels; it has to be short enough to lose nothing here.
                let text = page.walk.encode(&"q").unwrap();
                walk = Some(Walk::decode(&text, &"q", world.number()).unwrap());
                world.page.set(world.page.get() + 1);
                prop_assert!(world.page.get() < 400, "the walk does not end");
            }
            for instance in 0..world.number() {
                let of: Vec<i64> = seen.iter().filter(|(at, _)| *at == instance).map(|(_, row)| *row).collect();
                prop_assert_eq!(of, (0..world.instances[instance].rows).collect::<Vec<_>>(), "instance {}", instance);
            }
        }

        #[test]
        fn a_page_at_an_offset_is_cut_out_of_the_line(
            rows in proptest::collection::vec(0..30_i64, 0..6),
            offset in 0..100_i64,
            limit in 1..=20_i64,
        ) {
            let of = |rows: &i64| Simulated { rows: *rows, too_low: 0, cursors: true, deaf: vec![], torn: vec![] };
            let world = World { instances: rows.iter().map(of).collect(), page: Cell::new(0) };
            let page = assemble(&world, offset, limit, None).now_or_never().unwrap().unwrap();
            let line: Vec<(usize, i64)> =
                rows.iter().enumerate().flat_map(|(at, rows)| (0..*rows).map(move |row| (at, row))).collect();
            let start = line.len().min(usize::try_from(offset).unwrap());
            let end = line.len().min(usize::try_from(offset + limit).unwrap());
            prop_assert_eq!(numbers(&page), &line[start..end]);
            prop_assert_eq!(page.total(), rows.iter().sum::<i64>());
            prop_assert_eq!(page.walk.has_ended(), end == line.len());
        }
    }
}
