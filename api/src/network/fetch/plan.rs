//! The page plan: the instances' counts are laid end to end in document order, and a page is cut out of that line. Pure
//! arithmetic, so that it can be tested with any counts.

/// What one instance gives to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// The instance's place in document order.
    pub(super) instance: usize,
    /// Its rows before the slice.
    pub(super) offset: i64,
    /// Rows in the slice, at least 1.
    pub(super) length: i64,
}

/// The slices of `[offset, offset + limit)`, in document order. `None` is an instance that gave no count, and no rows
/// either. Sums that no page could reach are cut off instead of overflowing: peers make the counts up.
#[must_use]
pub(super) fn page(counts: &[Option<i64>], offset: i64, limit: i64) -> Vec<Slice> {
    let end = offset.saturating_add(limit);
    let mut start: i64 = 0;
    let mut slices = Vec::new();
    for (instance, count) in counts.iter().enumerate() {
        let stop = start.saturating_add(count.unwrap_or(0));
        let (from, to) = (start.max(offset), stop.min(end));
        if from < to {
            slices.push(Slice { instance, offset: from - start, length: to - from });
        }
        start = stop;
    }
    slices
}

/// Whether an instance has rows behind the page that is cut at `offset + limit`.
#[must_use]
pub(super) fn ends_after(counts: &[Option<i64>], instance: usize, end: i64) -> bool {
    let through: i64 = counts.iter().take(instance + 1).fold(0, |sum, count| sum.saturating_add(count.unwrap_or(0)));
    counts.get(instance).copied().flatten().is_some_and(|count| count > 0) && through > end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every row of every instance by its place, laid end to end.
    fn line(counts: &[Option<i64>]) -> Vec<(usize, i64)> {
        let rows = counts.iter().enumerate();
        rows.flat_map(|(instance, count)| (0..count.unwrap_or(0)).map(move |row| (instance, row))).collect()
    }

    proptest! {
        #[test]
        fn a_page_is_the_line_cut_out(
            counts in proptest::collection::vec(proptest::option::of(0..40_i64), 0..8),
            offset in 0..400_i64,
            limit in 1..=100_i64,
        ) {
            let slices = page(&counts, offset, limit);
            let planned: Vec<(usize, i64)> = slices
                .iter()
                .flat_map(|slice| (slice.offset..slice.offset + slice.length).map(|row| (slice.instance, row)))
                .collect();
            let line = line(&counts);
            let start = line.len().min(usize::try_from(offset).unwrap());
            let end = line.len().min(usize::try_from(offset + limit).unwrap());
            prop_assert_eq!(&planned[..], &line[start..end]);
            prop_assert!(slices.iter().all(|slice| slice.length > 0));
            for instance in 0..counts.len() {
                let behind = line[end..].iter().any(|(of, _)| *of == instance);
                prop_assert_eq!(ends_after(&counts, instance, offset + limit), behind);
            }
        }

        #[test]
        fn pages_side_by_side_cover_every_row_once(
            counts in proptest::collection::vec(proptest::option::of(0..40_i64), 0..8),
            limit in 1..=100_i64,
        ) {
            let line = line(&counts);
            let mut walked = Vec::new();
            let mut offset = 0;
            while walked.len() < line.len() {
                let before = walked.len();
                for slice in page(&counts, offset, limit) {
                    walked.extend((slice.offset..slice.offset + slice.length).map(|row| (slice.instance, row)));
                }
                prop_assert!(walked.len() > before);
                offset += limit;
            }
            prop_assert_eq!(walked, line);
            prop_assert!(page(&counts, offset, limit).is_empty());
        }

        #[test]
        fn absurd_numbers_only_give_fitting_slices(
            counts in proptest::collection::vec(proptest::option::of(0..=i64::MAX), 0..8),
            offset in 0..=i64::MAX,
            limit in 1..=100_i64,
        ) {
            let slices = page(&counts, offset, limit);
            prop_assert!(slices.iter().map(|slice| slice.length).sum::<i64>() <= limit);
            for slice in slices {
                let count = counts[slice.instance].unwrap();
                prop_assert!(slice.offset >= 0 && slice.length > 0 && slice.offset <= count - slice.length);
            }
        }
    }
}
