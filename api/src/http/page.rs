//! Paging of CONTRACT 1.7.

use super::fields::Fields;
use super::scalars::{integer, text};

/// Rows on a page at most.
pub const MAX_LIMIT: i64 = 100;
/// Rows on a page unless asked otherwise.
pub const DEFAULT_LIMIT: i64 = 20;
/// The longest cursor, in characters.
const MAX_CURSOR: usize = 1024;

/// Which rows are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// 1…100.
    pub limit: i64,
    /// Where the page starts.
    pub start: Start,
}

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After so many rows.
    Offset(i64),
    /// Where an earlier page ended: its `meta.next_cursor`, not yet decoded.
    Cursor(String),
}

impl Page {
    /// Reads `limit`, `offset` and `cursor`, with their defaults.
    pub fn read(f: &mut Fields<'_>) -> Self {
        let limit = f.optional_number("limit", limit).unwrap_or(DEFAULT_LIMIT);
        let offset = f.optional_number("offset", offset);
        let start = Self::start(f, offset, None);
        Self { limit, start: start.unwrap_or(Start::Offset(0)) }
    }

    /// Reads an item fetch's query, which may give the 1-based `page` for `offset`.
    pub fn read_with_page(f: &mut Fields<'_>) -> Self {
        let limit = f.optional_number("limit", limit).unwrap_or(DEFAULT_LIMIT);
        let offset = f.optional_number("offset", offset);
        let page = f.optional_number("page", integer(1..=i64::MAX / MAX_LIMIT));
        let start = Self::start(f, offset, page.map(|page| (page - 1) * limit));
        Self { limit, start: start.unwrap_or(Start::Offset(0)) }
    }

    /// Reads a body in which `limit` and one of `offset` and `cursor` have to be there (`fetch_local`).
    pub fn read_required(f: &mut Fields<'_>) -> Self {
        let limit = f.required("limit", limit);
        let sent = f.has("offset") || f.has("cursor");
        let offset = f.optional("offset", offset);
        let start = Self::start(f, offset, None);
        if !sent {
            f.miss("offset");
        }
        Self { limit, start: start.unwrap_or(Start::Offset(0)) }
    }

    fn start(f: &mut Fields<'_>, offset: Option<i64>, page: Option<i64>) -> Option<Start> {
        let cursor = f.nullable("cursor", text(1..=MAX_CURSOR));
        let given = [(offset.is_some(), "offset"), (page.is_some(), "page"), (cursor.is_some(), "cursor")];
        let mut names = given.iter().filter(|(given, _)| *given).map(|(_, name)| *name);
        if let (Some(first), Some(second)) = (names.next(), names.next()) {
            f.fault(second, format!("cannot be used with {first}"));
        }
        cursor.map(Start::Cursor).or(offset.or(page).map(Start::Offset))
    }
}

fn limit(place: &mut super::fields::Place<'_>) -> Option<i64> {
    integer(1..=MAX_LIMIT)(place)
}

fn offset(place: &mut super::fields::Place<'_>) -> Option<i64> {
    integer(0..=i64::MAX)(place)
}
