//! As much of Structured Fields (RFC 8941) as signatures need: dictionaries of byte sequences and of inner lists.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// More than a signature has any use for: each is compared with all before it, and anybody may send them.
const MOST_PARAMETERS: usize = 16;

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    String(String),
    Integer(i64),
    Boolean(bool),
    Token(String),
}

/// Parameters in the order in which they were sent: the order is signed.
pub(super) type Parameters = Vec<(String, Item)>;

/// The members of a dictionary with their values as text; none when it can't be cut. Commas in strings don't cut.
pub(super) fn dictionary(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut members = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                members.push(member(text.get(start..at)?)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(member(text.get(start..)?)?);
    (!quoted).then_some(members)
}

fn member(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.trim().split_once('=')?;
    is_key(name).then_some((name, value))
}

/// The only member of that name: two of them would let sender and receiver mean different ones.
pub(super) fn only_member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut values = dictionary(text)?.into_iter().filter(|(n, _)| *n == name).map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// `:base64:`
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let base64 = text.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(base64).ok()
}

/// `("a" "b");x=1;y="z"`: strings without parameters of their own, then the list's parameters.
pub(super) fn parse_inner_list(text: &str) -> Option<(Vec<String>, Parameters)> {
    let mut rest = text.strip_prefix('(')?;
    let mut components = Vec::new();
    loop {
        rest = rest.trim_start_matches(' ');
        if let Some(after) = rest.strip_prefix(')') {
            return Some((components, parse_parameters(after)?));
        }
        let (component, after) = parse_string(rest)?;
        if !after.starts_with([' ', ')']) {
            return None;
        }
        components.push(component);
        rest = after;
    }
}

fn parse_parameters(mut rest: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    while !rest.is_empty() {
        rest = rest.strip_prefix(';')?.trim_start_matches(' ');
        let end = rest.find([';', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        let repeated = parameters.iter().any(|(known, _)| known == name);
        if !is_key(name) || repeated || parameters.len() >= MOST_PARAMETERS {
            return None;
        }
        let (value, after) = match after.strip_prefix('=') {
            Some(value) => parse_item(value)?,
            None => (Item::Boolean(true), after),
        };
        parameters.push((name.to_owned(), value));
        rest = after;
    }
    Some(parameters)
}

fn parse_item(text: &str) -> Option<(Item, &str)> {
    if text.starts_with('"') {
        let (string, rest) = parse_string(text)?;
        return Some((Item::String(string), rest));
    }
    let (word, rest) = text.split_at_checked(text.find(';').unwrap_or(text.len()))?;
    let item = match word {
        "?1" => Item::Boolean(true),
        "?0" => Item::Boolean(false),
        word if word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            // Fifteen digits at most, as the RFC has it; and only the spelling that we would write.
            let number: i64 = word.parse().ok()?;
            if number.unsigned_abs() > 999_999_999_999_999 || number.to_string() != word {
                return None;
            }
            Item::Integer(number)
        }
        word if !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),;=".contains(&b)) => {
            Item::Token(word.to_owned())
        }
        _ => return None,
    };
    Some((item, rest))
}

fn parse_string(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut string = String::new();
    let mut escaped = false;
    for (at, character) in inner.char_indices() {
        match character {
            '"' | '\\' if escaped => {
                string.push(character);
                escaped = false;
            }
            _ if escaped => return None,
            '\\' => escaped = true,
            '"' => return Some((string, inner.get(at + 1..)?)),
            ' '..='~' => string.push(character),
            _ => return None,
        }
    }
    None
}

/// Writes an inner list in the one way that is signed.
pub(super) fn inner_list(components: &[String], parameters: &Parameters) -> String {
    let components: Vec<String> = components.iter().map(|name| quoted(name)).collect();
    let mut text = format!("({})", components.join(" "));
    for (name, value) in parameters {
        match value {
            Item::String(value) => text.push_str(&format!(";{name}={}", quoted(value))),
            Item::Integer(value) => text.push_str(&format!(";{name}={value}")),
            Item::Boolean(true) => text.push_str(&format!(";{name}")),
            Item::Boolean(false) => text.push_str(&format!(";{name}=?0")),
            Item::Token(value) => text.push_str(&format!(";{name}={value}")),
        }
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_key(name: &str) -> bool {
    name.starts_with(|c: char| c == '*' || c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b))
}
