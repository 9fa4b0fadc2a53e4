//! From Avro JSON to nodes. apache-avro has accepted the JSON before; what it lets pass and this project does not is
//! refused here.

use std::collections::HashMap;

use serde_json::{Map, Value};
use shuniu_model::{Item, ItemName, ItemType, Sharing};

use crate::cursor::DEPTH_MAX;
use crate::decimal;
use crate::node::{DecimalType, Field, Fraction, IntKind, LongKind, Node, NodeId, Nodes};
use crate::rule::TextRule;
use crate::schema::Definition;

const NODES_MAX: usize = 20_000;
const ITEMS_MAX: usize = 1_000;

pub(crate) struct Parsed {
    pub(crate) nodes: Nodes,
    pub(crate) items: Vec<Item>,
    pub(crate) definitions: HashMap<String, Definition>,
    pub(crate) type_names: HashMap<NodeId, String>,
}

/// Compiles a schema, or says every rule that it breaks.
pub(crate) fn parse(json: &Value) -> Result<Parsed, Vec<String>> {
    let mut parser = Parser {
        nodes: Vec::new(),
        named: HashMap::new(),
        definitions: HashMap::new(),
        problems: Vec::new(),
    };
    let root = parser.node(json, &Scope { namespace: "", place: "the schema", chars_max: None, depth: 0 });
    let fields = match parser.nodes.get(root) {
        Some(Node::Record { fields, .. }) if root == 0 => fields.len(),
        _ => return Err(vec!["a resource's schema is a record".to_owned()]),
    };
    if fields == 0 || fields > ITEMS_MAX {
        parser.problems.push(format!("a resource has 1 to {ITEMS_MAX} items, not {fields}"));
    }
    let mut items = Vec::with_capacity(fields);
    for field in json.get("fields").and_then(Value::as_array).into_iter().flatten() {
        items.extend(item(field, &mut parser.problems));
    }
    if parser.problems.is_empty() {
        let type_names = parser.named.into_iter().map(|(name, id)| (id, name)).collect();
        Ok(Parsed { nodes: Nodes::new(parser.nodes), items, definitions: parser.definitions, type_names })
    } else {
        Err(parser.problems)
    }
}

/// Where a type stands.
#[derive(Clone, Copy)]
struct Scope<'a> {
    namespace: &'a str,
    /// For messages: the field.
    place: &'a str,
    /// The field's `length`, which holds for its text.
    chars_max: Option<u32>,
    depth: u32,
}

struct Parser {
    nodes: Vec<Node>,
    named: HashMap<String, NodeId>,
    definitions: HashMap<String, Definition>,
    problems: Vec<String>,
}

impl Parser {
    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn set(&mut self, id: NodeId, node: Node) -> NodeId {
        if let Some(slot) = self.nodes.get_mut(id) {
            *slot = node;
        }
        id
    }

    fn problem(&mut self, scope: &Scope<'_>, rule: &str) -> NodeId {
        self.problems.push(format!("{}: {rule}", scope.place));
        self.add(Node::Null)
    }

    fn node(&mut self, json: &Value, scope: &Scope<'_>) -> NodeId {
        if scope.depth >= DEPTH_MAX {
            return self.problem(scope, "types are nested too deep");
        }
        if self.nodes.len() >= NODES_MAX {
            return self.problem(scope, "the schema has too many types");
        }
        let scope = &Scope { depth: scope.depth + 1, ..*scope };
        match json {
            Value::String(name) => self.by_name(name, scope),
            Value::Array(branches) => {
                let id = self.add(Node::Null);
                let branches = branches.iter().map(|branch| self.node(branch, scope)).collect();
                self.set(id, Node::Union(branches))
            }
            Value::Object(object) => self.object(json, object, scope),
            _ => self.problem(scope, "a type is a name, a list or an object"),
        }
    }

    fn by_name(&mut self, name: &str, scope: &Scope<'_>) -> NodeId {
        match primitive(name, scope.chars_max) {
            Some(node) => self.add(node),
            None => match self.named.get(&qualified(name, scope.namespace)) {
                Some(id) => *id,
                None => self.problem(scope, &format!("`{name}` names no type defined before")),
            },
        }
    }

    fn object(&mut self, json: &Value, object: &Map<String, Value>, scope: &Scope<'_>) -> NodeId {
        let logical = object.get("logicalType").and_then(Value::as_str);
        let Some(Value::String(kind)) = object.get("type") else {
            return match object.get("type") {
                Some(inner) => self.node(inner, scope),
                None => self.problem(scope, "a type without `type`"),
            };
        };
        match kind.as_str() {
            "array" | "map" => {
                let id = self.add(Node::Null);
                let element = object.get(if kind == "array" { "items" } else { "values" });
                let element = self.node(element.unwrap_or(&Value::Null), scope);
                self.refuse_logical(logical, kind, scope);
                self.set(id, if kind == "array" { Node::Array(element) } else { Node::Map(element) })
            }
            "record" | "enum" | "fixed" => self.named_type(kind, json, object, scope),
            _ => match logical {
                None => self.by_name(kind, scope),
                Some(logical) => match self.logical(kind, logical, object, scope) {
                    Some(node) => self.add(node),
                    None => self
                        .problem(scope, &format!("the logical type `{logical}` does not go with `{kind}`")),
                },
            },
        }
    }

    fn named_type(
        &mut self,
        kind: &str,
        json: &Value,
        object: &Map<String, Value>,
        scope: &Scope<'_>,
    ) -> NodeId {
        let logical = object.get("logicalType").and_then(Value::as_str);
        let name = full_name(object, scope.namespace);
        let id = self.add(Node::Null);
        self.named.insert(name.clone(), id);
        let enclosing = scope.namespace.to_owned();
        self.definitions.insert(name.clone(), Definition { json: json.clone(), enclosing });
        let node = match kind {
            "enum" => {
                self.refuse_logical(logical, kind, scope);
                let symbols = object.get("symbols").and_then(Value::as_array).into_iter().flatten();
                Node::Enum {
                    symbols: symbols.filter_map(Value::as_str).map(Into::into).collect(),
                    has_default: object.contains_key("default"),
                }
            }
            "fixed" => {
                let bytes =
                    object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let bytes = bytes.unwrap_or(0);
                match logical {
                    Some("decimal") => self.decimal(object, Some(bytes), scope),
                    None => Node::Fixed { bytes },
                    Some("uuid") if bytes == 16 => Node::Fixed { bytes },
                    Some("duration") if bytes == 12 => Node::Fixed { bytes },
                    Some(_) => {
                        self.refuse_logical(logical, kind, scope);
                        Node::Fixed { bytes }
                    }
                }
            }
            _ => self.record(&name, object, scope),
        };
        self.set(id, node)
    }

    fn record(&mut self, name: &str, object: &Map<String, Value>, scope: &Scope<'_>) -> Node {
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let logical = object.get("logicalType").and_then(Value::as_str);
        let file = logical == Some("file");
        if !file {
            self.refuse_logical(logical, "record", scope);
        }
        let mut fields = Vec::new();
        for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
            let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            let place = format!("`{name}`");
            let chars_max = self.chars_max(field, &place);
            let scope = Scope { namespace, place: &place, chars_max, depth: scope.depth };
            let node = self.node(field.get("type").unwrap_or(&Value::Null), &scope);
            let has_default = field.get("default").is_some();
            fields.push(Field { name: name.into(), node, has_default });
        }
        if file && !self.is_file(&fields) {
            self.problem(scope, "a file has `digest` (string), `size` (long) and `media_type` (string)");
        }
        Node::Record { fields: fields.into(), file }
    }

    fn chars_max(&mut self, field: &Value, place: &str) -> Option<u32> {
        let length = field.get("length")?;
        let length =
            length.as_u64().and_then(|length| u32::try_from(length).ok()).filter(|length| *length > 0);
        if length.is_none() {
            self.problems.push(format!("{place}: `length` is a whole number of characters above 0"));
        }
        length
    }

    fn is_file(&self, fields: &[Field]) -> bool {
        let has = |name: &str, fits: fn(&Node) -> bool| {
            fields.iter().any(|field| &*field.name == name && self.nodes.get(field.node).is_some_and(fits))
        };
        has("digest", |node| matches!(node, Node::Text { .. }))
            && has("size", |node| matches!(node, Node::Long(LongKind::Plain)))
            && has("media_type", |node| matches!(node, Node::Text { .. }))
    }

    /// A logical type that is not known would be a rule that nobody checks.
    fn refuse_logical(&mut self, logical: Option<&str>, kind: &str, scope: &Scope<'_>) {
        if let Some(logical) = logical {
            self.problem(scope, &format!("the logical type `{logical}` does not go with `{kind}`"));
        }
    }

    fn logical(
        &mut self,
        kind: &str,
        logical: &str,
        object: &Map<String, Value>,
        scope: &Scope<'_>,
    ) -> Option<Node> {
        let chars_max = scope.chars_max;
        Some(match (kind, logical) {
            ("int", "date") => Node::Int(IntKind::Date),
            ("int", "time-millis") => Node::Int(IntKind::TimeMillis),
            ("long", "time-micros") => Node::Long(LongKind::TimeMicros),
            ("long", "timestamp-millis") => Node::Long(LongKind::Instant(Fraction::Millis)),
            ("long", "timestamp-micros") => Node::Long(LongKind::Instant(Fraction::Micros)),
            ("long", "timestamp-nanos") => Node::Long(LongKind::Instant(Fraction::Nanos)),
            ("long", "local-timestamp-millis") => Node::Long(LongKind::Local(Fraction::Millis)),
            ("long", "local-timestamp-micros") => Node::Long(LongKind::Local(Fraction::Micros)),
            ("long", "local-timestamp-nanos") => Node::Long(LongKind::Local(Fraction::Nanos)),
            ("bytes", "decimal") => self.decimal(object, None, scope),
            ("string", name) => Node::Text { rule: TextRule::named(name)?, chars_max },
            _ => return None,
        })
    }

    fn decimal(&mut self, object: &Map<String, Value>, size: Option<usize>, scope: &Scope<'_>) -> Node {
        let number =
            |name| object.get(name).and_then(Value::as_u64).and_then(|value| u32::try_from(value).ok());
        let precision = number("precision").unwrap_or(0);
        let scale = number("scale").unwrap_or(0);
        if precision == 0 || precision > decimal::PRECISION_MAX || scale > precision {
            let most = decimal::PRECISION_MAX;
            self.problem(
                scope,
                &format!("a decimal has a precision of 1 to {most} and a scale of at most that"),
            );
        }
        Node::Decimal(DecimalType { precision, scale, size })
    }
}

fn primitive(name: &str, chars_max: Option<u32>) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int(IntKind::Plain),
        "long" => Node::Long(LongKind::Plain),
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes,
        "string" => Node::Text { rule: TextRule::Free, chars_max },
        _ => return None,
    })
}

/// Whether a name is one of Avro's own types, which no definition can take.
pub(crate) fn is_primitive(name: &str) -> bool {
    primitive(name, None).is_some()
}

/// The full name that a reference means.
pub(crate) fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// The full name that a definition gives.
pub(crate) fn full_name(object: &Map<String, Value>, enclosing: &str) -> String {
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(enclosing);
    qualified(name, namespace)
}

fn item(field: &Value, problems: &mut Vec<String>) -> Option<Item> {
    let text = |name: &str| field.get(name).and_then(Value::as_str).filter(|value| !value.trim().is_empty());
    let name = text("name").unwrap_or_default();
    let before = problems.len();
    let parsed = ItemName::parse(name).map_err(|error| problems.push(error.to_string())).ok();
    let mut needed = |value: Option<&str>, rule: &str| match value {
        Some(value) => value.to_owned(),
        None => {
            problems.push(format!("`{name}`: {rule}"));
            String::new()
        }
    };
    let name_zh = needed(text("title_zh"), "`title_zh` is missing");
    let letter = text("data_type").filter(|letter| item_type(letter).is_some());
    let letter = needed(letter, "`data_type` is one of C N Y D T L M G B I F");
    let level = field.get("level").and_then(Value::as_u64).and_then(|level| u8::try_from(level).ok());
    let level = level.filter(|level| (1..=4).contains(level));
    needed(level.map(|_| ""), "`level` is 1, 2, 3 or 4");
    let sharing = match text("sharing") {
        Some("unconditional") => Sharing::Unconditional,
        Some("conditional") => Sharing::Conditional,
        Some("not-shared") => Sharing::NotShared {
            basis: needed(text("basis"), "not shared, and `basis` does not name the legal basis"),
        },
        _ => {
            needed(None, "`sharing` is `unconditional`, `conditional` or `not-shared`");
            Sharing::Conditional
        }
    };
    if problems.len() > before {
        return None;
    }
    Some(Item { name: parsed?, name_zh, item_type: item_type(&letter)?, level: level?, sharing })
}

fn item_type(letter: &str) -> Option<ItemType> {
    Some(match letter {
        "C" => ItemType::Character,
        "N" => ItemType::Numeric,
        "Y" => ItemType::Currency,
        "D" => ItemType::Date,
        "T" => ItemType::DateTime,
        "L" => ItemType::Logical,
        "M" => ItemType::Memo,
        "G" => ItemType::General,
        "B" => ItemType::Double,
        "I" => ItemType::Integer,
        "F" => ItemType::Float,
        _ => return None,
    })
}
