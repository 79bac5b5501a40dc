//! One operation of the document, and what all of them have in common.

use serde_json::{Map, Value as Json, json};

/// Who may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody, uncounted.
    Anybody,
    /// Everybody; strangers are counted.
    Strangers,
    /// Whoever has the address.
    Address,
    /// Those with a key of this scope; reading needs none on this machine.
    Scope(&'static str),
}

/// An operation, as the document tells it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) path: String,
    pub(super) method: &'static str,
    pub(super) document: Map<String, Json>,
}

/// The statuses of refusals, what each is called among the components, and what it means.
const REFUSALS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "The query or the body is not understood"),
    (401, "Unauthorized", "A key is missing, wrong or expired"),
    (403, "Forbidden", "The key does not allow this"),
    (404, "NotFound", "There is no such thing"),
    (405, "WrongMethod", "This method does nothing here"),
    (408, "SlowBody", "The body did not arrive in time"),
    (409, "Conflict", "It is not in a state for this"),
    (413, "TooLarge", "The body is too large"),
    (422, "Invalid", "It is understood, but cannot be"),
    (429, "TooMany", "Strangers may ask 10 times a second"),
    (500, "Internal", "The daemon made a mistake; its log says which"),
    (503, "Unavailable", "Not available at the moment"),
];

/// A schema among the components.
pub(super) fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The responses that operations share.
pub(super) fn refusals() -> Map<String, Json> {
    let refusal = |(status, name, about): (u16, &str, &str)| {
        let mut response = problem(about);
        let header = match status {
            401 => Some(("WWW-Authenticate", "How to ask with a key", "string")),
            405 => Some(("Allow", "The methods that do something", "string")),
            429 => Some(("Retry-After", "In how many seconds to come back", "integer")),
            _ => None,
        };
        if let (Some((header, about, of)), Json::Object(response)) = (header, &mut response) {
            let header = json!({ header: { "description": about, "schema": { "type": of } } });
            response.insert("headers".to_owned(), header);
        }
        (name.to_owned(), response)
    };
    REFUSALS.into_iter().map(refusal).collect()
}

fn problem(about: &str) -> Json {
    let schema = reference("Problem");
    json!({ "description": about, "content": { "application/problem+json": { "schema": schema } } })
}

fn about(status: u16) -> Option<(&'static str, &'static str)> {
    let found = REFUSALS.into_iter().find(|(known, ..)| *known == status);
    found.map(|(_, name, about)| (name, about))
}

/// A piece of a list of `items`.
pub(super) fn list(items: &str) -> Json {
    json!({
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": { "type": "array", "items": reference(items) },
            "next": {
                "type": ["string", "null"],
                "description": "The cursor of the next piece; null at the end",
            },
        },
    })
}

impl Operation {
    pub(super) fn new(
        method: &'static str,
        path: &str,
        (tag, who): (&str, Who),
        summary: &str,
    ) -> Self {
        let mut document = Map::new();
        document.insert("tags".to_owned(), json!([tag]));
        document.insert("summary".to_owned(), json!(summary));
        document.insert("operationId".to_owned(), json!(id(method, path)));
        let security = match who {
            Who::Scope("read") => json!([{ "key": ["read"] }, {}]),
            Who::Scope(scope) => json!([{ "key": [scope] }]),
            Who::Anybody | Who::Strangers | Who::Address => json!([]),
        };
        document.insert("security".to_owned(), security);
        let mut operation = Self { path: path.to_owned(), method, document };
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = name.trim_end_matches('}');
            operation = operation.parameter(name, "path", json!({ "type": "string" }), None);
        }
        let reads = matches!(method, "get" | "head");
        operation.refuses(match (who, reads) {
            (Who::Anybody, _) => &[],
            (Who::Strangers, _) => &[401, 429],
            (Who::Address, true) => &[401, 429, 500, 503],
            (Who::Address, false) => &[401, 408, 413, 429, 500, 503],
            (Who::Scope(_), true) => &[401, 403, 429, 500, 503],
            (Who::Scope(_), false) => &[401, 403, 408, 413, 429, 500, 503],
        })
    }

    fn parameter(mut self, name: &str, place: &str, schema: Json, about: Option<&str>) -> Self {
        let mut parameter = json!({ "name": name, "in": place, "schema": schema });
        if let (Json::Object(parameter), Some(about)) = (&mut parameter, about) {
            parameter.insert("description".to_owned(), json!(about));
        }
        if let (Json::Object(parameter), true) = (&mut parameter, place == "path") {
            parameter.insert("required".to_owned(), json!(true));
        }
        let all = self.document.entry("parameters").or_insert_with(|| json!([]));
        if let Json::Array(all) = all {
            all.retain(|known| known.get("name") != Some(&json!(name)));
            all.push(parameter);
        }
        self
    }

    /// What a part of its path may be.
    pub(super) fn place(self, name: &str, schema: Json) -> Self {
        self.parameter(name, "path", schema, None)
    }

    /// A parameter that may be there.
    pub(super) fn query(self, name: &str, schema: Json, about: &str) -> Self {
        self.parameter(name, "query", schema, Some(about))
    }

    /// The parameters of a list, and what it gives.
    pub(super) fn pieces(self, items: &str) -> Self {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
        self.query("limit", limit, "How many at most")
            .query("cursor", json!({ "type": "string" }), "The `next` of the piece before")
            .refuses(&[400])
            .gives(200, "application/json", list(items))
    }

    /// What is sent along.
    pub(super) fn body(mut self, content_type: &str, schema: Json, required: bool) -> Self {
        let body =
            json!({ "required": required, "content": { content_type: { "schema": schema } } });
        self.document.insert("requestBody".to_owned(), body);
        self
    }

    /// The response of this status; new ones stand in order.
    fn response(&mut self, status: u16, make: impl FnOnce() -> Json) -> Option<&mut Json> {
        let all = self.document.entry("responses").or_insert_with(|| json!({}));
        let (all, status) = (all.as_object_mut()?, status.to_string());
        if !all.contains_key(&status) {
            all.insert(status.clone(), make());
            all.sort_keys();
        }
        all.get_mut(&status)
    }

    /// An answer with content; several of one status are alternatives.
    pub(super) fn gives(mut self, status: u16, content_type: &str, schema: Json) -> Self {
        let words = about(status).map_or("Done", |(_, about)| about);
        let response = self.response(status, || json!({ "description": words }));
        if let Some(Json::Object(response)) = response {
            let content = response.entry("content").or_insert_with(|| json!({}));
            if let Json::Object(content) = content {
                content.insert(content_type.to_owned(), json!({ "schema": schema }));
            }
        }
        self
    }

    /// The same as JSON of a shape among the components.
    pub(super) fn json(self, name: &str) -> Self {
        self.gives(200, "application/json", reference(name))
    }

    /// An answer without content.
    pub(super) fn done(mut self, status: u16, about: &str) -> Self {
        self.response(status, || json!({ "description": about }));
        self
    }

    /// Its answer has a tag, and is left out where the client has it already.
    pub(super) fn tagged(mut self) -> Self {
        if let Some(Json::Object(response)) = self.response(200, || json!({})) {
            let about = "Send it back as If-None-Match";
            let tag = json!({ "ETag": { "description": about, "schema": { "type": "string" } } });
            response.insert("headers".to_owned(), tag);
        }
        self.done(304, "Nothing changed since the answer with the tag that was sent along")
    }

    /// Problem documents.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            if let Some((name, _)) = about(*status) {
                let place = format!("#/components/responses/{name}");
                self.response(*status, || json!({ "$ref": place }));
            }
        }
        self
    }

    /// Refusals that are a text of this type in the place of a problem document, or, where the
    /// daemon refuses before it looks at the path, beside one.
    pub(super) fn tells(mut self, statuses: &[u16], content_type: &str) -> Self {
        for status in statuses {
            let Some((_, words)) = about(*status) else { continue };
            let text = json!({ "schema": { "type": "string" } });
            let mut response = json!({ "description": words, "content": {} });
            if *status == 503 {
                response = problem(words);
            }
            if let Some(content) = response.get_mut("content").and_then(Json::as_object_mut) {
                content.insert(content_type.to_owned(), text);
            }
            if let Some(known) = self.response(*status, || json!({})) {
                *known = response;
            }
        }
        self
    }
}

/// A name for programs, such as `getChecksNameResults`.
fn id(method: &str, path: &str) -> String {
    let mut id = method.to_owned();
    // What an Alertmanager has below `/-/` has its names here, too.
    let path = path.replace("/-/", "/v2/");
    // The public page has a name beside the status of the daemon.
    let path = if path.starts_with("/status") { format!("/public{path}") } else { path };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    for word in words.filter(|word| !matches!(*word, "" | "api" | "v1")) {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}
