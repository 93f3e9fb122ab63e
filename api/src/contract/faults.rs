//! The words for what is wrong with a value. They are made from the schema alone: a message never repeats the value.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use crate::http::Fault;

/// Options or names that a message lists before it says how many more there are.
const MAX_LISTED: usize = 20;

/// The faults that one error of the validator stands for, with paths below `prefix`.
pub(super) fn fault_of(error: &ValidationError<'_>, prefix: &str) -> Vec<Fault> {
    let path = format!("{prefix}{}", error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| Fault::new(path.clone(), format!("{name:?} is not allowed"))).collect()
        }
        kind => vec![Fault::new(path, message(kind))],
    }
}

fn message(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Required { property } => format!("{property} is required"),
        Kind::Type { kind } => format!("must be {}", type_names(kind)),
        Kind::Pattern { pattern } => format!("does not match the pattern {pattern}"),
        Kind::Enum { options } => format!("must be one of {}", listed(options)),
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {}", counted(limit, "character")),
        Kind::MaxLength { limit } => format!("must have at most {}", counted(limit, "character")),
        Kind::MinItems { limit } => format!("must have at least {}", counted(limit, "element")),
        Kind::MaxItems { limit } => format!("must have at most {}", counted(limit, "element")),
        Kind::AdditionalItems { limit } => format!("must have at most {}", counted(limit, "element")),
        Kind::MinProperties { limit } => format!("must have at least {}", counted(limit, "member")),
        Kind::MaxProperties { limit } => format!("must have at most {}", counted(limit, "member")),
        Kind::PropertyNames { error } => format!("has a member whose name {}", message(error.kind())),
        _ => fixed_message(kind).to_owned(),
    }
}

fn counted(number: &impl ToString, noun: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Faults about which the schema has nothing to add.
fn fixed_message(kind: &ValidationErrorKind) -> &'static str {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "fits none of the alternatives",
        Kind::OneOfMultipleValid { .. } => "fits more than one of the alternatives",
        Kind::Not { .. } => "fits what is excluded",
        Kind::Contains => "lacks an element that is required, or has too many of them",
        Kind::UniqueItems => "must not hold an element twice",
        Kind::FalseSchema => "is not allowed",
        Kind::UnevaluatedItems { .. } => "has elements that are not allowed",
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            "is too hard to match with the pattern"
        }
        _ => "does not fit the schema",
    }
}

fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => type_name(*kind).to_owned(),
        TypeKind::Multiple(kinds) => kinds.iter().map(type_name).collect::<Vec<_>>().join(" or "),
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

fn listed(options: &Value) -> String {
    let Some(options) = options.as_array() else { return options.to_string() };
    let mut texts: Vec<_> = options.iter().take(MAX_LISTED).map(Value::to_string).collect();
    if options.len() > MAX_LISTED {
        texts.push(format!("{} more", options.len() - MAX_LISTED));
    }
    texts.join(", ")
}
