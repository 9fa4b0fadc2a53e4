//! A schema: its text, its items, its compiled nodes.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use shuniu_model::Item;

use crate::node::{NodeId, Nodes};
use crate::parse;

/// A schema's text is at most this long.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

/// A text that is not a schema of a resource.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Longer than a schema may be.
    #[error("the schema has {bytes} bytes, and at most {TEXT_BYTES_MAX} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not JSON.
    #[error("the schema is not JSON")]
    Json {
        /// Where JSON ends.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, and not Avro.
    #[error("the schema is not Avro")]
    Avro {
        /// What Avro demands.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Avro that breaks this project's rules, all of them at once.
    #[error("the schema breaks {} of the rules for resources: {}", problems.len(), problems.join("; "))]
    Rules {
        /// A sentence for each.
        problems: Vec<String>,
    },
}

/// An Avro schema of a resource. It is a record; its fields are the resource's items.
///
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    text: String,
    json: Value,
    items: Vec<Item>,
    nodes: Nodes,
    /// Named types by full name: where each is defined, and in which namespace.
    definitions: HashMap<String, Definition>,
    type_names: HashMap<NodeId, String>,
}

/// A named type, as the text defines it.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) json: Value,
    /// The namespace that encloses the definition.
    pub(crate) enclosing: String,
}

impl Schema {
    /// Parses Avro JSON. Each item states `title_zh`, `data_type`, `level` and `sharing` (with `basis` where it is
    /// `not-shared`), and may state `length`, the most characters that its text may have.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(SchemaError::TooLong { bytes: text.len() });
        }
        let json: Value = serde_json::from_str(text).map_err(|source| SchemaError::Json { source })?;
        apache_avro::Schema::parse(&json).map_err(|source| SchemaError::Avro { source: Box::new(source) })?;
        let parse::Parsed { nodes, items, definitions, type_names } =
            parse::parse(&json).map_err(|problems| SchemaError::Rules { problems })?;
        Ok(Self {
            inner: Arc::new(Inner { text: text.to_owned(), json, items, nodes, definitions, type_names }),
        })
    }

    /// The text, as it was parsed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// The items, in the order of the record's fields.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.inner.items
    }

    /// The item of that name.
    #[must_use]
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.inner.items.iter().find(|item| item.name.as_str() == name)
    }

    /// Whether an item may have that text, as keys and subjects are written; an element of it where it is a list. False
    /// of an item that there is not, or that has no text.
    #[must_use]
    pub fn takes(&self, item: &str, text: &str) -> bool {
        self.nodes().item(item).is_some_and(|(_, node)| crate::text::takes(self.nodes(), node, text))
    }

    /// Whether the two say the same: white space, the order of attributes and, in the other one, attributes that
    /// Avro itself does not know (`title_zh` and the like) make no difference.
    #[must_use]
    pub fn same_as(&self, other: &str) -> bool {
        serde_json::from_str::<Value>(other).is_ok_and(|json| {
            json == self.inner.json
                || crate::canonical::canonical(&json) == crate::canonical::canonical(&self.inner.json)
        })
    }

    pub(crate) fn nodes(&self) -> &Nodes {
        &self.inner.nodes
    }

    pub(crate) fn json(&self) -> &Value {
        &self.inner.json
    }

    pub(crate) fn definitions(&self) -> &HashMap<String, Definition> {
        &self.inner.definitions
    }

    /// The full name of a named type.
    pub(crate) fn type_name(&self, id: NodeId) -> &str {
        self.inner.type_names.get(&id).map_or("", String::as_str)
    }

    /// The JSON of an item's field.
    pub(crate) fn field_json(&self, position: usize) -> Option<&Value> {
        self.inner.json.get("fields")?.get(position)
    }
}
