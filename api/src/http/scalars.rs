//! Readers for the scalars of CONTRACT 1.4, for use with [`super::fields`].

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::fields::{Place, Source};
use crate::contract::InstanceUrl;

/// The longest instance or schema URL, in bytes.
pub const MAX_URL: usize = 2048;

/// A string of so many characters.
pub fn text(length: RangeInclusive<usize>) -> impl FnOnce(&mut Place<'_>) -> Option<String> {
    move |place| {
        let Value::String(text) = place.value else { return place.refuse("must be a string") };
        let characters = text.chars().count();
        if characters < *length.start() {
            return place.refuse(if characters == 0 { "must not be empty" } else { "is too short" });
        }
        if characters > *length.end() {
            return place.refuse(format!("must have at most {} characters", length.end()));
        }
        Some(text.clone())
    }
}

/// A string of at least one character.
pub fn non_empty(place: &mut Place<'_>) -> Option<String> {
    text(1..=usize::MAX)(place)
}

/// A network, domain, item type, action type or status.
pub fn name(place: &mut Place<'_>) -> Option<String> {
    text(1..=120)(place)
}

/// An owner's id, or `created_by`.
pub fn owner(place: &mut Place<'_>) -> Option<String> {
    text(1..=255)(place)
}

/// Remarks on an action.
pub fn remarks(place: &mut Place<'_>) -> Option<String> {
    text(1..=4000)(place)
}

/// Any `8-4-4-4-12` hexadecimal text; it prints in lower case.
pub fn uuid(place: &mut Place<'_>) -> Option<Uuid> {
    let parsed = place.value.as_str().filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok());
    parsed.or_else(|| place.refuse("must be a uuid"))
}

/// An object, as it is.
pub fn object(place: &mut Place<'_>) -> Option<Map<String, Value>> {
    match place.value {
        Value::Object(object) => Some(object.clone()),
        _ => place.refuse("must be an object"),
    }
}

/// Any value, as it is.
pub fn value(place: &mut Place<'_>) -> Option<Value> {
    Some(place.value.clone())
}

/// A boolean; in a query the text `true` or `false`.
pub fn boolean(place: &mut Place<'_>) -> Option<bool> {
    match (place.source, place.value) {
        (_, Value::Bool(flag)) => Some(*flag),
        (Source::Query, Value::String(text)) if text == "true" => Some(true),
        (Source::Query, Value::String(text)) if text == "false" => Some(false),
        _ => place.refuse("must be true or false"),
    }
}

/// An absolute URL, as it was written.
pub fn url(place: &mut Place<'_>) -> Option<String> {
    read_url(place, |_| true, "must be an absolute URL")
}

/// An absolute `http` or `https` URL, as it was written: it names an instance.
pub fn instance_url(place: &mut Place<'_>) -> Option<String> {
    let names_an_instance = |url: &Url| InstanceUrl::parse(url.as_str()).is_ok();
    read_url(place, names_an_instance, "must be an absolute http or https URL")
}

fn read_url(place: &mut Place<'_>, fits: impl FnOnce(&Url) -> bool, message: &'static str) -> Option<String> {
    let Value::String(text) = place.value else { return place.refuse(message) };
    if text.len() > MAX_URL {
        return place.refuse("must have at most 2048 bytes");
    }
    // The parser forgives blanks at both ends; a comparison of the text would not.
    let parsed = Url::parse(text).ok().filter(|_| text.trim() == text);
    if parsed.is_some_and(|url| fits(&url)) { Some(text.clone()) } else { place.refuse(message) }
}

/// One of a few words.
pub fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl FnOnce(&mut Place<'_>) -> Option<T> {
    move |place| {
        let chosen = choices.iter().find(|(word, _)| place.value == *word).map(|(_, choice)| *choice);
        chosen.or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            place.refuse(format!("must be one of {}", words.join(", ")))
        })
    }
}

/// An ISO 8601 time with an offset.
pub fn time(place: &mut Place<'_>) -> Option<DateTime<Utc>> {
    let parsed = place.value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let parsed = parsed.map(|time| time.with_timezone(&Utc));
    // Years that every reader writes with four digits, Postgres among them.
    let parsed = parsed.filter(|time| (1..=9999).contains(&time.year()));
    parsed.or_else(|| place.refuse("must be an ISO 8601 time"))
}

/// A whole number; in a query in decimal.
pub fn integer(range: RangeInclusive<i64>) -> impl FnOnce(&mut Place<'_>) -> Option<i64> {
    move |place| {
        let outside = format!("must be a whole number from {} to {}", range.start(), range.end());
        let read = match (place.source, place.value) {
            (Source::Body, Value::Number(number)) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            (Source::Query, Value::String(text)) if is_whole_decimal(text) => text.parse().ok(),
            _ => None,
        };
        read.filter(|number| range.contains(number)).or_else(|| place.refuse(outside))
    }
}

/// `5.0` is a whole number to JSON Schema, so it is one here.
fn whole(number: f64) -> Option<i64> {
    // Beyond 2⁵³ a float no longer says which whole number was meant.
    let exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    if exact { format!("{number:.0}").parse().ok() } else { None }
}

/// A number; in a query in decimal.
pub fn number(range: RangeInclusive<f64>) -> impl FnOnce(&mut Place<'_>) -> Option<f64> {
    move |place| {
        let read = match (place.source, place.value) {
            (Source::Body, Value::Number(number)) => number.as_f64(),
            (Source::Query, Value::String(text)) => decimal(text),
            _ => return place.refuse("must be a number"),
        };
        within(place, read, &range)
    }
}

/// A number, or a text that spells one in decimal: peers send both (CONTRACT 4.17).
pub fn number_or_text(range: RangeInclusive<f64>) -> impl FnOnce(&mut Place<'_>) -> Option<f64> {
    move |place| match place.value {
        Value::String(text) => {
            let read = decimal(text);
            within(place, read, &range)
        }
        _ => number(range)(place),
    }
}

fn within(place: &mut Place<'_>, read: Option<f64>, range: &RangeInclusive<f64>) -> Option<f64> {
    match read {
        None => place.refuse("must be a number"),
        Some(number) if range.contains(&number) => Some(number),
        Some(_) => place.refuse(format!("must be between {} and {}", range.start(), range.end())),
    }
}

/// `12`, `-12.5`; neither an exponent nor a bare point.
fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if digits && is_whole_decimal(whole) { text.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}

fn is_whole_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
