//! Request headers that steer a write or a read: idempotency key, versions, reading one's writes (CONTRACT 1.8–1.10).
//!
//! Each reader gives a [`Fault`] when the header can't be read, at `/<header name>`, so that it joins the other faults
//! of the request (`Faults::header`).

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH};

use super::envelope::visible_ascii;
use super::error::Fault;

/// `idempotency-key`.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `dpg-min-position`.
pub const DPG_MIN_POSITION: HeaderName = HeaderName::from_static("dpg-min-position");
/// `dpg-position`.
pub const DPG_POSITION: HeaderName = HeaderName::from_static("dpg-position");
/// `dpg-projected`.
pub const DPG_PROJECTED: HeaderName = HeaderName::from_static("dpg-projected");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The caller's idempotency key.
///
/// # Errors
/// When it is not one header of 1 to 255 visible ASCII characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let fault = || Fault::new("/idempotency-key", "must be 1 to 255 visible ASCII characters");
    let Some(value) = single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    if !visible_ascii(value.as_bytes(), 255) {
        return Err(fault());
    }
    value.to_str().map(|text| Some(text.to_owned())).map_err(|_| fault())
}

/// Which versions a write may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: whichever there is.
    Any,
    /// One of these. Weak tags, and tags that are no version, never match and are not in the list.
    Versions(Vec<i64>),
}

impl IfMatch {
    /// Whether a write may replace this version.
    #[must_use]
    pub fn allows(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }
}

/// The condition of a PATCH or DELETE; `None` without the header.
///
/// # Errors
/// When it is neither `*` nor a list of entity tags.
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Fault> {
    let fault = || Fault::new("/if-match", "must be * or a list of quoted versions");
    let mut tags = Vec::new();
    for value in headers.get_all(IF_MATCH) {
        let text = value.to_str().map_err(|_| fault())?;
        tags.extend(elements(text).map(str::to_owned));
    }
    if !headers.contains_key(IF_MATCH) {
        return Ok(None);
    }
    match tags.as_slice() {
        [] => Err(fault()),
        [any] if any == "*" => Ok(Some(IfMatch::Any)),
        tags => {
            let opaque: Option<Vec<_>> = tags.iter().map(|tag| opaque_tag(tag)).collect();
            let opaque = opaque.ok_or_else(fault)?;
            Ok(Some(IfMatch::Versions(opaque.into_iter().flatten().filter_map(version_of).collect())))
        }
    }
}

/// `etag` of an item's version.
#[must_use]
pub fn etag(version: i64) -> HeaderValue {
    // Digits in quotes always fit a header.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The inside of a strong tag, `Some(None)` for a weak one, `None` for what is no entity tag.
fn opaque_tag(tag: &str) -> Option<Option<&str>> {
    let (weak, quoted) = tag.strip_prefix("W/").map_or((false, tag), |rest| (true, rest));
    let inside = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains(['"', ' ']) {
        return None;
    }
    Some((!weak).then_some(inside))
}

/// The version that we would have written as this tag.
fn version_of(tag: &str) -> Option<i64> {
    tag.parse().ok().filter(|version: &i64| version.to_string() == tag)
}

/// Whether the caller does not want to wait until its write shows in the tables (`Prefer: respond-async`).
#[must_use]
pub fn prefers_async(headers: &HeaderMap) -> bool {
    headers.get_all(PREFER).filter_map(|value| value.to_str().ok()).flat_map(elements).any(|preference| {
        let name = preference.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("respond-async")
    })
}

/// A position that a read has to have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinPosition {
    /// The network it counts in; `None` leaves that to the route.
    pub network: Option<String>,
    /// From 0.
    pub position: i64,
}

/// `dpg-min-position`: `<n>` or `<network>:<n>`.
///
/// # Errors
/// When it is neither.
pub fn min_position(headers: &HeaderMap) -> Result<Option<MinPosition>, Fault> {
    let fault = || Fault::new("/dpg-min-position", "must be a position, or a network, a colon and a position");
    let Some(value) = single(headers, &DPG_MIN_POSITION)? else { return Ok(None) };
    let text = value.to_str().map_err(|_| fault())?.trim();
    let (network, digits) = text.rsplit_once(':').map_or((None, text), |(network, rest)| (Some(network), rest));
    if network.is_some_and(str::is_empty) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault());
    }
    let position = digits.parse().map_err(|_| fault())?;
    Ok(Some(MinPosition { network: network.map(str::to_owned), position }))
}

/// The only value of a header; more than one is a fault.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Fault> {
    let mut values = headers.get_all(name);
    let first = values.next();
    if values.next().is_some() {
        return Err(Fault::new(format!("/{name}"), "is given more than once"));
    }
    Ok(first)
}

/// The elements of a comma list, trimmed, empty ones left out. A comma between quotes does not separate.
fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let separates = move |character: char| {
        quoted ^= character == '"';
        character == ',' && !quoted
    };
    text.split(separates).map(str::trim).filter(|element| !element.is_empty())
}
