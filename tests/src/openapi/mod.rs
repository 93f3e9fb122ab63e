//! An instance's OpenAPI document as a judge: what may be sent, and whether an answer is one that the document promises.

pub mod generate;
mod odd;

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{Answer, Client};

/// One method of one path.
#[derive(Debug, Clone)]
pub struct Operation {
    /// In upper case.
    pub method: String,
    /// With parameters in braces.
    pub path: String,
    /// `operationId`.
    pub id: String,
    /// The operation as it stands in the document.
    pub described: Value,
}

/// A document.
pub struct Document {
    /// As it was served.
    pub json: Value,
    /// One for every schema that stands somewhere in it, by the schema's text.
    validators: HashMap<String, Validator>,
}

/// The name under which validators know the components.
const COMPONENTS: &str = "urn:dpg:components";

impl Document {
    /// Asks an instance for its document.
    pub async fn of(client: &Client) -> Self {
        Self::new(client.get("/api/v1/openapi.json").send().await.expect(200).body)
    }

    /// Takes a document; every schema in it is compiled.
    ///
    /// # Panics
    /// When one does not compile.
    #[must_use]
    pub fn new(json: Value) -> Self {
        let components = for_validator(&json!({"$defs": json["components"]["schemas"]}));
        let registry = jsonschema::Registry::new()
            .draft(jsonschema::Draft::Draft202012)
            .add(COMPONENTS, &components)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .unwrap_or_else(|error| panic!("the components: {error}"));
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).with_registry(&registry);
        let mut schemas = Vec::new();
        gather(&json, &mut schemas);
        let mut validators = HashMap::new();
        for schema in schemas {
            validators.entry(schema.to_string()).or_insert_with(|| {
                options.build(&for_validator(schema)).unwrap_or_else(|error| panic!("{schema}: {error}"))
            });
        }
        drop(options);
        Self { json, validators }
    }

    /// All operations.
    ///
    /// # Panics
    /// When the document has no paths.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        let paths = self.json["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.iter().map(|(method, described)| Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                id: described["operationId"].as_str().expect("an id").to_owned(),
                described: described.clone(),
            })
        });
        operations.collect()
    }

    /// An operation by its id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn operation(&self, id: &str) -> Operation {
        self.operations()
            .into_iter()
            .find(|operation| operation.id == id)
            .unwrap_or_else(|| panic!("no operation {id}"))
    }

    /// What a reference leads to; anything else is what it is.
    ///
    /// # Panics
    /// When it leads nowhere.
    #[must_use]
    pub fn resolve<'d>(&'d self, part: &'d Value) -> &'d Value {
        match part["$ref"].as_str() {
            Some(to) => self
                .resolve(self.json.pointer(to.trim_start_matches('#')).unwrap_or_else(|| panic!("{to} leads nowhere"))),
            None => part,
        }
    }

    /// The validator of a schema that stands in this document.
    ///
    /// # Panics
    /// When it stands nowhere.
    #[must_use]
    pub fn validator(&self, schema: &Value) -> &Validator {
        self.validators.get(&schema.to_string()).unwrap_or_else(|| panic!("no such schema: {schema}"))
    }

    /// What is not as documented in an answer to an operation; empty when all is well.
    #[must_use]
    pub fn faults(&self, operation: &Operation, answer: &Answer) -> Vec<String> {
        let responses = &operation.described["responses"];
        let class = format!("{}XX", answer.status / 100);
        let described = responses.get(answer.status.to_string()).or_else(|| responses.get(&class));
        let Some(described) = described else { return vec![format!("status {} is not documented", answer.status)] };
        let described = self.resolve(described);
        let mut faults = self.header_faults(described, answer);
        let Some(content) = described["content"].as_object() else {
            if !answer.text.is_empty() {
                faults.push("the documented answer has no body".to_owned());
            }
            return faults;
        };
        let media_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let Some(content) = content.get(media_type) else {
            faults.push(format!("media type {media_type:?} is not documented"));
            return faults;
        };
        if media_type == "application/json" {
            faults.extend(
                self.validator(&content["schema"])
                    .iter_errors(&answer.body)
                    .map(|error| format!("the body is not as documented at {}: {error}", error.instance_path())),
            );
            if answer.header("content-type") != Some("application/json; charset=utf-8") {
                faults.push("the media type lacks its charset".to_owned());
            }
        }
        faults
    }

    /// Headers that every answer has, and documented ones whose value is not as documented.
    fn header_faults(&self, described: &Value, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let schema = &self.resolve(header)["schema"];
            let Some(text) = answer.header(name) else {
                if matches!(name.as_str(), "x-request-id" | "vary") {
                    faults.push(format!("{name} is missing"));
                }
                continue;
            };
            let value = if schema["type"] == "integer" {
                serde_json::from_str(text).unwrap_or(Value::Null)
            } else {
                json!(text)
            };
            if !self.validator(schema).is_valid(&value) {
                faults.push(format!("{name}: {text} is not as documented"));
            }
        }
        faults
    }
}

/// Every value of a member `schema`.
fn gather<'d>(part: &'d Value, found: &mut Vec<&'d Value>) {
    match part {
        Value::Object(members) => {
            found.extend(members.get("schema").filter(|schema| schema.is_object()));
            members.values().for_each(|part| gather(part, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| gather(element, found)),
        _ => {}
    }
}

/// References into the document become references to what validators know.
fn for_validator(schema: &Value) -> Value {
    let text = schema.to_string().replace("\"#/components/schemas/", &format!("\"{COMPONENTS}#/$defs/"));
    serde_json::from_str(&text).expect("what was JSON before")
}
