//! The projected schema: what an ordinary Avro deserialiser needs to read what a view lets out.

use std::collections::HashSet;

use serde_json::{Map, Value};
use shuniu_model::Treatment;

use crate::cursor::Cursor;
use crate::json::{Notation, decode, encode};
use crate::node::{Node, NodeId};
use crate::parse::{full_name, is_primitive, qualified};
use crate::pseudonym::{PSEUDONYM_CHARS, PseudonymKey};
use crate::schema::Schema;
use crate::treat::{Treated, Unfit};

/// One item that leaves.
pub(crate) struct Leaving<'a> {
    /// Its position among the writer's items.
    pub(crate) position: usize,
    pub(crate) node: NodeId,
    pub(crate) treatment: &'a Treatment,
    /// `None` when it is kept.
    pub(crate) treated: Option<&'a Treated>,
}

/// The schema of what leaves, as JSON text. The same schema and view always give the same text. An error names the
/// position of the item.
pub(crate) fn schema(
    writer: &Schema,
    leaving: &[Leaving<'_>],
    key: &PseudonymKey,
) -> Result<String, (usize, Unfit)> {
    let mut root = writer.json().as_object().cloned().unwrap_or_default();
    let name = full_name(&root, "");
    let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
    let mut emitter = Emitter { writer, defined: HashSet::from([name]) };
    let mut fields = Vec::with_capacity(leaving.len());
    for item in leaving {
        let Some(field) = writer.field_json(item.position).and_then(Value::as_object) else { continue };
        let field = emitter.field(field, item, &namespace, key).map_err(|unfit| (item.position, unfit))?;
        fields.push(Value::Object(field));
    }
    root.insert("fields".to_owned(), Value::Array(fields));
    Ok(Value::Object(root).to_string())
}

/// The default of a treated item: the treated default, in the notation of defaults.
fn treated_default(
    writer: &Schema,
    item: &Leaving<'_>,
    treated: &Treated,
    default: &Value,
    key: &PseudonymKey,
) -> Result<Option<Value>, Unfit> {
    let nodes = writer.nodes();
    let mut body = Vec::new();
    let mut out = Vec::new();
    let encoded = encode(nodes, item.node, default, Notation::Default, &mut body);
    if encoded.is_none() || treated.put(nodes, key, &mut Cursor::new(&body), &mut out).is_err() {
        // A default that is no value of its item is not passed on.
        return Ok(None);
    }
    let mut cursor = Cursor::new(&out);
    if *item.treatment == Treatment::Pseudonym {
        // The type is string, or a union of string and null.
        let is_null = *default == Value::Null;
        let digits = out.get(out.len().saturating_sub(PSEUDONYM_CHARS)..).unwrap_or_default();
        return Ok(Some(if is_null { Value::Null } else { String::from_utf8_lossy(digits).into() }));
    }
    if matches!(nodes.of(item.node), Node::Union(_)) && out.first() != body.first() {
        // Avro takes a union's default from its first branch.
        return Err(Unfit::ConstantDefault);
    }
    Ok(decode(nodes, item.node, &mut cursor).ok())
}

struct Emitter<'a> {
    writer: &'a Schema,
    /// Named types that the text so far defines.
    defined: HashSet<String>,
}

impl Emitter<'_> {
    fn field(
        &mut self,
        field: &Map<String, Value>,
        item: &Leaving<'_>,
        namespace: &str,
        key: &PseudonymKey,
    ) -> Result<Map<String, Value>, Unfit> {
        let mut field = field.clone();
        let kind = field.get("type").cloned().unwrap_or(Value::Null);
        let Some(treated) = item.treated else {
            field.insert("type".to_owned(), self.kind(&kind, namespace));
            return Ok(field);
        };
        let kind = match item.treatment {
            Treatment::Pseudonym => {
                if field.contains_key("length") {
                    field.insert("length".to_owned(), PSEUDONYM_CHARS.into());
                }
                field.insert("data_type".to_owned(), "C".into());
                self.pseudonym_kind(item.node)
            }
            _ => without_rule(&self.kind(&kind, namespace)),
        };
        field.insert("type".to_owned(), kind);
        if let Some(default) = field.get("default") {
            match treated_default(self.writer, item, treated, default, key)? {
                Some(default) => field.insert("default".to_owned(), default),
                None => field.shift_remove("default"),
            };
        }
        Ok(field)
    }

    fn pseudonym_kind(&self, node: NodeId) -> Value {
        let nodes = self.writer.nodes();
        match nodes.branches(&node).iter().position(|branch| *nodes.of(*branch) == Node::Null) {
            None => "string".into(),
            Some(0) => Value::Array(vec!["null".into(), "string".into()]),
            Some(_) => Value::Array(vec!["string".into(), "null".into()]),
        }
    }

    /// A kept type. A name whose definition stands in an item that does not leave is defined where it is met first.
    fn kind(&mut self, json: &Value, namespace: &str) -> Value {
        match json {
            Value::String(name) if !is_primitive(name) => {
                self.reference(json, &qualified(name, namespace), namespace)
            }
            Value::Array(branches) => {
                Value::Array(branches.iter().map(|branch| self.kind(branch, namespace)).collect())
            }
            Value::Object(object) => match object.get("type").and_then(Value::as_str) {
                Some("record" | "enum" | "fixed") => self.definition(object, namespace, namespace),
                Some("array") => Value::Object(self.inside(object, "items", namespace)),
                Some("map") => Value::Object(self.inside(object, "values", namespace)),
                Some(name) if is_primitive(name) => json.clone(),
                _ => Value::Object(self.inside(object, "type", namespace)),
            },
            _ => json.clone(),
        }
    }

    fn inside(&mut self, object: &Map<String, Value>, part: &str, namespace: &str) -> Map<String, Value> {
        let mut object = object.clone();
        let inner = object.get(part).cloned().unwrap_or(Value::Null);
        object.insert(part.to_owned(), self.kind(&inner, namespace));
        object
    }

    fn reference(&mut self, json: &Value, name: &str, namespace: &str) -> Value {
        if self.defined.contains(name) {
            return json.clone();
        }
        let Some(definition) = self.writer.definitions().get(name).cloned() else { return json.clone() };
        match definition.json.as_object() {
            Some(object) => self.definition(object, &definition.enclosing, namespace),
            None => json.clone(),
        }
    }

    /// Emits a definition that stood inside `enclosing` and now stands inside `namespace`.
    fn definition(&mut self, object: &Map<String, Value>, enclosing: &str, namespace: &str) -> Value {
        let name = full_name(object, enclosing);
        if !self.defined.insert(name.clone()) {
            return name.into();
        }
        let mut object = object.clone();
        let (own, local) = name.rsplit_once('.').unwrap_or(("", &name));
        if enclosing != namespace {
            object.insert("name".to_owned(), local.into());
            object.insert("namespace".to_owned(), own.into());
        }
        if let Some(fields) = object.get("fields").and_then(Value::as_array).cloned() {
            let fields =
                fields.iter().filter_map(Value::as_object).map(|field| self.inside(field, "type", own));
            let fields = fields.map(Value::Object).collect();
            object.insert("fields".to_owned(), Value::Array(fields));
        }
        Value::Object(object)
    }
}

/// The type without rules on text: a treated text no longer obeys them.
fn without_rule(json: &Value) -> Value {
    match json {
        Value::Array(branches) => Value::Array(branches.iter().map(without_rule).collect()),
        Value::Object(object) if object.get("type").and_then(Value::as_str) == Some("string") => {
            let mut object = object.clone();
            object.shift_remove("logicalType");
            if object.len() == 1 { "string".into() } else { Value::Object(object) }
        }
        Value::Object(object) => {
            let mut object = object.clone();
            if let Some(inner @ (Value::Object(_) | Value::Array(_))) = object.get("type") {
                let inner = without_rule(inner);
                object.insert("type".to_owned(), inner);
            }
            Value::Object(object)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json.clone(),
    }
}
