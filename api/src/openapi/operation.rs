//! One operation of the API as the document describes it: a builder, so that a route's entry reads like its section of
//! the wire contract. What follows from the kind of route (credentials, common errors, headers of writes and reads) is
//! added here and said nowhere twice.

use serde_json::{Value, json};

use super::parameters;

/// Who may call, and how refusals of that look (CONTRACT 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Anybody.
    Open,
    /// Anybody, below `/api/auth`.
    Auth,
    /// A session, below `/api/auth`; an API key is not enough.
    Session,
    /// A user, by session or API key.
    User,
    /// A peer that reads.
    PeerRead,
    /// A peer that writes.
    PeerWrite,
    /// A peer that writes, and has to sign.
    PeerSignedWrite,
    /// A peer that asks about itself, and has to sign.
    PeerStatus,
    /// The operator.
    Admin,
}

/// A good answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    /// Media types and the schema; none for an empty body.
    pub(crate) content: Option<(Vec<&'static str>, Value)>,
    pub(crate) example: Option<Value>,
    /// Names among [`parameters::response_headers`].
    pub(crate) headers: Vec<&'static str>,
}

/// A request body.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) schema: Value,
    pub(crate) required: bool,
    pub(crate) example: Option<Value>,
}

/// One method of one path.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// In lower case.
    pub(crate) method: &'static str,
    /// In actix's and OpenAPI's common spelling.
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) tier: Tier,
    pub(crate) summary: &'static str,
    pub(crate) description: String,
    pub(crate) parameters: Vec<Value>,
    pub(crate) body: Option<Body>,
    pub(crate) answers: Vec<Answer>,
    /// What this route refuses beyond what [`Operation::refusals`] adds.
    pub(crate) own_refusals: Vec<(u16, &'static str)>,
    /// Whether a refusal of another instance may be passed on.
    pub(crate) passes_on: bool,
}

impl Operation {
    fn new(method: &'static str, path: &'static str, id: &'static str, tag: &'static str, tier: Tier) -> Self {
        Self {
            method,
            path,
            id,
            tag,
            tier,
            summary: "",
            description: String::new(),
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            own_refusals: Vec::new(),
            passes_on: false,
        }
        .with_credentials()
    }

    pub(crate) fn get(path: &'static str, id: &'static str, tag: &'static str, tier: Tier) -> Self {
        Self::new("get", path, id, tag, tier)
    }

    pub(crate) fn post(path: &'static str, id: &'static str, tag: &'static str, tier: Tier) -> Self {
        Self::new("post", path, id, tag, tier)
    }

    pub(crate) fn patch(path: &'static str, id: &'static str, tag: &'static str, tier: Tier) -> Self {
        Self::new("patch", path, id, tag, tier)
    }

    pub(crate) fn delete(path: &'static str, id: &'static str, tag: &'static str, tier: Tier) -> Self {
        Self::new("delete", path, id, tag, tier)
    }

    fn with_credentials(mut self) -> Self {
        if matches!(self.tier, Tier::PeerRead | Tier::PeerWrite | Tier::PeerSignedWrite | Tier::PeerStatus) {
            let needed = matches!(self.tier, Tier::PeerSignedWrite | Tier::PeerStatus);
            self.parameters.extend(parameters::signature(needed));
        }
        if matches!(self.tier, Tier::Auth | Tier::Session) && self.method == "post" {
            self.own_refusals.extend([(403, "INVALID_ORIGIN"), (403, "MISSING_OR_NULL_ORIGIN")]);
        }
        self
    }

    pub(crate) fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    pub(crate) fn says(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    pub(crate) fn parameters(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// A JSON body that has to be there.
    pub(crate) fn body(mut self, schema: Value) -> Self {
        self.body = Some(Body { schema, required: true, example: None });
        self
    }

    /// A JSON body that may be left out.
    pub(crate) fn optional_body(mut self, schema: Value) -> Self {
        self.body = Some(Body { schema, required: false, example: None });
        self
    }

    /// An example of the body.
    pub(crate) fn sends(mut self, example: Value) -> Self {
        if let Some(body) = &mut self.body {
            body.example = Some(example);
        }
        self
    }

    /// A good answer with JSON.
    pub(crate) fn answers(self, status: u16, description: &'static str, schema: Value) -> Self {
        self.answers_as(status, description, Some(("application/json", schema)))
    }

    /// A good answer.
    pub(crate) fn answers_as(
        mut self,
        status: u16,
        description: &'static str,
        content: Option<(&'static str, Value)>,
    ) -> Self {
        let content = content.map(|(media_type, schema)| (vec![media_type], schema));
        self.answers.push(Answer { status, description, content, example: None, headers: Vec::new() });
        self
    }

    /// Another media type of the last answer.
    pub(crate) fn or_as(mut self, media_type: &'static str) -> Self {
        if let Some((media_types, _)) = self.answers.last_mut().and_then(|answer| answer.content.as_mut()) {
            media_types.push(media_type);
        }
        self
    }

    /// An example of the last answer.
    pub(crate) fn like(mut self, example: Value) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.example = Some(example);
        }
        self
    }

    /// A header of every good answer so far.
    pub(crate) fn header(mut self, name: &'static str) -> Self {
        for answer in &mut self.answers {
            answer.headers.push(name);
        }
        self
    }

    pub(crate) fn refuses(mut self, refusals: &[(u16, &'static str)]) -> Self {
        self.own_refusals.extend_from_slice(refusals);
        self
    }

    /// Asks the database, which may be away.
    pub(crate) fn stored(self) -> Self {
        self.refuses(&[(503, "SERVICE_UNAVAILABLE")])
    }

    /// Appends to the log (CONTRACT 1.8). Call after the answers.
    pub(crate) fn appends(self) -> Self {
        self.stored()
            .parameters([parameters::prefer()])
            .header("dpg-position")
            .header("dpg-projected")
            .refuses(&[(500, "PARTITION_SETUP_FAILED")])
    }

    /// Stores what another instance has decided: the answer does not wait for the tables.
    pub(crate) fn mirrors(self) -> Self {
        self.stored().header("dpg-position").header("dpg-projected").refuses(&[(500, "PARTITION_SETUP_FAILED")])
    }

    /// Honours `idempotency-key` (CONTRACT 1.9).
    pub(crate) fn idempotent(self) -> Self {
        self.parameters([parameters::idempotency_key()]).refuses(&[(422, "IDEMPOTENCY_KEY_REUSED")])
    }

    /// Forwards to another instance (CONTRACT 4.9).
    pub(crate) fn forwards(mut self) -> Self {
        self.passes_on = true;
        self.refuses(&[
            (409, "IDEMPOTENCY_KEY_IN_PROGRESS"),
            (502, "TARGET_INSTANCE_UNAVAILABLE"),
            (502, "TARGET_INSTANCE_REFUSED"),
            (504, "TARGET_INSTANCE_TIMEOUT"),
        ])
    }

    /// Reads tables, and waits for a position when told to (CONTRACT 1.8).
    pub(crate) fn reads_tables(self) -> Self {
        self.stored().parameters([parameters::min_position()]).refuses(&[(503, "PROJECTION_BEHIND")])
    }

    /// What OpenAPI calls security: any one of the list is enough.
    pub(crate) fn security(&self) -> Value {
        match self.tier {
            // They ask who is there, and that may be nobody.
            Tier::Auth if matches!(self.id, "getSession" | "signOut") => {
                json!([{"bearer": []}, {"cookie": []}, {"apiKey": []}, {}])
            }
            Tier::Open | Tier::Auth => json!([]),
            Tier::Session => json!([{"bearer": []}, {"cookie": []}]),
            Tier::User => json!([{"bearer": []}, {"cookie": []}, {"apiKey": []}]),
            Tier::PeerRead | Tier::PeerWrite => json!([{"peerSignature": []}, {}]),
            Tier::PeerSignedWrite | Tier::PeerStatus => json!([{"peerSignature": []}]),
            Tier::Admin => json!([{"adminKey": []}, {"apiKey": []}]),
        }
    }
}
