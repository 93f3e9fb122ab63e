//! JSON as CONTRACT 1.2 and 1.4 accept it: at most 128 levels, integers that fit 64 bits, finite floats, no lone
//! surrogates, no U+0000.
//!
//! serde_json finds most of that; it stops one level early and quietly turns a huge integer into a float. So one pass
//! over the bytes checks levels and integers first.

use serde::Deserialize;
use serde_json::Value;

use super::error::Fault;

/// Levels of arrays and objects at most.
const MAX_DEPTH: usize = 128;

/// Why a text is not JSON that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON, not UTF-8, a lone surrogate, or a float that is not finite.
    #[error("The body is not valid JSON (line {line}, column {column}).")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1; 0 where a line ended too early.
        column: usize,
    },
    /// More than 128 levels.
    #[error("The body is nested more than 128 levels deep.")]
    TooDeep,
    /// An integer outside −2⁶³…2⁶⁴−1.
    #[error("A whole number in the body does not fit 64 bits.")]
    IntegerRange,
}

/// Parses a request body. Of a repeated key the last value stays.
///
/// # Errors
/// The first fault found. It never repeats any of the text.
pub fn parse(text: &[u8]) -> Result<Value, JsonFault> {
    check_depth_and_integers(text)?;
    parse_any_depth(text).map_err(|error| JsonFault::Malformed { line: error.line(), column: error.column() })
}

/// Parses JSON of our own making (a payload from the log), which wraps a body of 128 levels in a few more.
///
/// # Errors
/// serde_json's, when the text is not JSON.
pub fn parse_any_depth(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Only counts brackets and reads integer literals outside strings; whether it is JSON at all is serde_json's to say.
fn check_depth_and_integers(text: &[u8]) -> Result<(), JsonFault> {
    let mut depth = 0_usize;
    let mut bytes = text.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonFault::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                let literal = number_at(text, at);
                if !fits(literal) {
                    return Err(JsonFault::IntegerRange);
                }
                for _ in 1..literal.len() {
                    bytes.next();
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn skip_string(bytes: &mut impl Iterator<Item = (usize, u8)>) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

fn number_at(text: &[u8], at: usize) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

/// An integer literal fits 64 bits; whatever is no integer literal is not judged here.
fn fits(literal: &[u8]) -> bool {
    let digits = literal.strip_prefix(b"-").unwrap_or(literal);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return true;
    }
    let Ok(text) = std::str::from_utf8(literal) else { return true };
    text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok()
}

/// A fault for each string or key that holds U+0000 (Postgres can't store it).
#[must_use]
pub fn null_characters(value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    find_null(value, &mut String::new(), &mut faults);
    faults
}

fn find_null(value: &Value, path: &mut String, faults: &mut Vec<Fault>) {
    let here = path.len();
    match value {
        Value::String(text) if text.contains('\0') => {
            faults.push(Fault::new(path.as_str(), "must not contain U+0000"));
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                push_segment(path, &index.to_string());
                find_null(element, path, faults);
                path.truncate(here);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                if key.contains('\0') {
                    faults.push(Fault::new(path.as_str(), "must not have a key that contains U+0000"));
                    continue;
                }
                push_segment(path, key);
                find_null(member, path, faults);
                path.truncate(here);
            }
        }
        _ => {}
    }
}

/// Appends a segment to a JSON Pointer, escaped.
pub fn push_segment(path: &mut String, segment: &str) {
    path.push('/');
    for character in segment.chars() {
        match character {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            other => path.push(other),
        }
    }
}
