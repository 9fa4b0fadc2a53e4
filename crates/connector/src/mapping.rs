//! Rows to records: columns become items, items become Avro, and every rule holds or the row is rejected.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use shuniu_model::ItemName;
use shuniu_schema::{Checked, Checker, Schema};

use crate::avro::{self, Damaged, Shape};
use crate::config::{ExtraFields, ItemRule, MissingFields, Origin, Source, nearest};
use crate::rows::{Cell, FileError, Row};
use crate::shape::shape;
use crate::transform;

/// What tells one row from another: 16 bytes over the items that are compared.
pub(crate) type Likeness = [u8; 16];

/// A row as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) likeness: Likeness,
    /// Mandatory items that have no value, by position in the declared list.
    pub(crate) absent: Vec<usize>,
}

/// A row that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) column: Option<String>,
    pub(crate) item: Option<String>,
    /// What the value looks like.
    pub(crate) shape: String,
    pub(crate) rule: String,
    /// The record that the row would have been, where that can be told: it is held, not deleted.
    pub(crate) key: Option<Vec<u8>>,
}

/// The declared mapping, held against the schema.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    shape: Shape,
    checker: Checker,
    /// For each field of the record its rule; an item without one is null.
    rules: Vec<Option<ItemRule>>,
    /// The order in which fields are made: items joined from others come last.
    order: Vec<usize>,
    key: usize,
    ignored: HashSet<String>,
    ignored_columns: Vec<String>,
    mandatory: Vec<usize>,
    extra_fields: ExtraFields,
    missing_fields: MissingFields,
}

/// The mapping for one file: columns are positions.
pub(crate) struct Bound<'a> {
    mapping: &'a Mapping,
    /// For each field the positions of its columns; `None` is an optional column that the file lacks.
    positions: Vec<Vec<Option<usize>>>,
    columns: Vec<String>,
    checked: Checked,
}

impl Mapping {
    /// Holds the mapping against the schema. The error is a place in the connector's file and a sentence.
    pub(crate) fn compile(source: &Source, schema: &Schema) -> Result<Self, (usize, String)> {
        let shape =
            Shape::parse(schema.text()).map_err(|error| (source.key.span().start, error.to_string()))?;
        let known = |name: &str, at: usize| {
            shape.fields.iter().position(|field| field.name == name).ok_or_else(|| {
                let nearest =
                    nearest(name, shape.fields.iter().map(|field| field.name.as_str())).unwrap_or("");
                (at, format!("the schema has no item `{name}`: did you mean `{nearest}`?"))
            })
        };
        let key = known(source.key.get_ref().as_str(), source.key.span().start)?;
        let mut rules: Vec<Option<ItemRule>> = vec![None; shape.fields.len()];
        for (name, rule) in &source.items {
            let at = name.span().start;
            let position = known(name.get_ref(), at)?;
            let field = shape.fields.get(position).filter(|field| avro::is_fillable(&field.kind));
            field.ok_or_else(|| {
                (at, format!("item `{}` has a type that no column can fill", name.get_ref()))
            })?;
            if let Origin::Items(parts) = &rule.origin {
                for part in parts {
                    let part = known(part, at)?;
                    let made = source.items.iter().find(|(item, _)| {
                        Some(item.get_ref().as_str())
                            == shape.fields.get(part).map(|field| field.name.as_str())
                    });
                    match made {
                        Some((_, ItemRule { origin: Origin::Items(_), .. })) => {
                            return Err((
                                at,
                                "an item joined from items cannot join one that is itself joined".into(),
                            ));
                        }
                        Some(_) => {}
                        None => return Err((at, "an item is joined from items that are not mapped".into())),
                    }
                }
            }
            if let Some(slot) = rules.get_mut(position) {
                *slot = Some(rule.clone());
            }
        }
        for (field, rule) in shape.fields.iter().zip(&rules) {
            if rule.is_none() && field.kind.null_branch().is_none() {
                let at = source.key.span().start;
                return Err((
                    at,
                    format!(
                        "item `{}` is required by the schema and [source.items] does not map it",
                        field.name
                    ),
                ));
            }
        }
        let mandatory = source.mandatory.iter().map(|item| known(item.get_ref().as_str(), item.span().start));
        let mandatory = mandatory.collect::<Result<_, _>>()?;
        let item = ItemName::parse(source.key.get_ref().as_str()).map_err(|error| (0, error.to_string()))?;
        let checker =
            Checker::new(schema, &item, &[]).map_err(|error| (source.key.span().start, error.to_string()))?;
        let is_joined = |position: &usize| {
            matches!(rules.get(*position), Some(Some(ItemRule { origin: Origin::Items(_), .. })))
        };
        let (joined, plain): (Vec<_>, Vec<_>) = (0..rules.len()).partition(is_joined);
        let ignored = ignored(source, &rules, &shape);
        Ok(Self {
            checker,
            order: plain.into_iter().chain(joined).collect(),
            key,
            ignored,
            ignored_columns: source.compare_ignore.clone(),
            mandatory,
            extra_fields: source.extra_fields,
            missing_fields: source.missing_fields,
            shape,
            rules,
        })
    }

    /// What decides whether a record was changed, for a body of any version of the schema. Items that are null are
    /// left out, so that an item that a newer version adds makes no difference until it has a value.
    pub(crate) fn likeness(&self, shape: &Shape, body: &[u8]) -> Result<Likeness, Damaged> {
        let mut hash = Sha256::new();
        for (field, bytes) in shape.fields.iter().zip(shape.fields_of(body)?) {
            let is_null =
                field.kind.null_branch().is_some_and(|null| bytes == [u8::try_from(null * 2).unwrap_or(0)]);
            if is_null || self.ignored.contains(&field.name) {
                continue;
            }
            // A null is a byte that no item's name has.
            hash.update(field.name.as_bytes());
            hash.update([0]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Ok(digest.first_chunk::<16>().copied().unwrap_or_default())
    }

    /// The items that are not compared, as one text: with others, what is stored of likeness is of no use.
    pub(crate) fn likeness_rule(&self) -> String {
        let mut ignored: Vec<&str> = self.ignored.iter().map(String::as_str).collect();
        ignored.sort_unstable();
        ignored.join(",")
    }

    /// Finds the columns in a file's header.
    pub(crate) fn bind(&self, path: &Path, columns: &[String]) -> Result<Bound<'_>, FileError> {
        let mut absent = Vec::new();
        let mut find = |names: &[String], optional: bool| {
            let mut found = columns.iter().enumerate().filter(|(_, column)| names.contains(column));
            match (found.next(), found.next()) {
                (Some((position, _)), None) => Ok(Some(position)),
                (Some((_, column)), Some(_)) => {
                    Err(FileError::TwiceColumn { path: path.to_owned(), column: column.clone() })
                }
                (None, _) => {
                    if !optional && names.first().is_some_and(|name| !absent.contains(name)) {
                        absent.extend(names.first().cloned());
                    }
                    Ok(None)
                }
            }
        };
        for column in &self.ignored_columns {
            find(std::slice::from_ref(column), false)?;
        }
        let positions = self.rules.iter().map(|rule| match rule {
            Some(ItemRule { origin: Origin::Column(names), optional, .. }) => {
                Ok(vec![find(names, *optional)?])
            }
            Some(ItemRule { origin: Origin::Columns(names), optional, .. }) => {
                names.iter().map(|name| find(std::slice::from_ref(name), *optional)).collect()
            }
            _ => Ok(Vec::new()),
        });
        let positions = positions.collect::<Result<_, _>>()?;
        if !absent.is_empty() {
            return Err(FileError::NoColumn { path: path.to_owned(), columns: absent });
        }
        Ok(Bound { mapping: self, positions, columns: columns.to_vec(), checked: Checked::default() })
    }
}

/// The items that read an ignored column.
fn ignored(source: &Source, rules: &[Option<ItemRule>], shape: &Shape) -> HashSet<String> {
    let is_ignored = |name: &String| source.compare_ignore.contains(name);
    let reads = |rule: &ItemRule| match &rule.origin {
        Origin::Column(names) | Origin::Columns(names) => names.iter().any(is_ignored),
        Origin::Items(_) | Origin::Constant(_) => false,
    };
    let fields = shape.fields.iter().zip(rules);
    fields.filter(|(_, rule)| rule.as_ref().is_some_and(reads)).map(|(field, _)| field.name.clone()).collect()
}

/// The items' texts of one row.
type Texts<'a> = Vec<Option<Cow<'a, str>>>;

impl Bound<'_> {
    /// The record that the row stands for, or the first rule that it breaks.
    pub(crate) fn map(&mut self, row: &Row) -> Result<Mapped, Breach> {
        self.check_width(row)?;
        let mapping = self.mapping;
        let mut texts: Texts<'_> = vec![None; mapping.rules.len()];
        let mut breach = None;
        for position in &mapping.order {
            match self.text(*position, row, &texts) {
                Ok(text) => {
                    if let Some(slot) = texts.get_mut(*position) {
                        *slot = text;
                    }
                }
                Err(found) => breach = breach.or(Some((*position, found))),
            }
        }
        if let Some((position, breach)) = breach {
            return Err(Breach { key: self.key_of(&texts, position), ..breach });
        }
        let body = self.encode(&texts, row)?;
        let check = mapping.checker.check(&body, &mut self.checked);
        check.map_err(|broken| {
            let position = broken.item.as_ref().and_then(|item| self.position(item.as_str()));
            let rule = broken.broken.to_string();
            match position {
                Some(position) => self.breach(position, &texts, row, rule),
                None => Breach { column: None, item: None, shape: String::new(), rule, key: None },
            }
        })?;
        let likeness = mapping.likeness(&mapping.shape, &body).map_err(|damaged| Breach {
            column: None,
            item: None,
            shape: String::new(),
            rule: damaged.to_string(),
            key: None,
        })?;
        let absent = mapping.mandatory.iter().enumerate();
        let absent =
            absent.filter(|(_, item)| texts.get(**item).is_none_or(Option::is_none)).map(|(at, _)| at);
        Ok(Mapped { key: self.checked.key().to_vec(), body, likeness, absent: absent.collect() })
    }

    fn check_width(&self, row: &Row) -> Result<(), Breach> {
        let ragged = |rule: String| {
            let shape = format!("{} fields", row.cells.len());
            Err(Breach { column: None, item: None, shape, rule, key: None })
        };
        let extra = row.cells.get(self.columns.len()..).unwrap_or_default();
        let is_empty =
            |cell: &Cell| matches!(cell, Cell::Null | Cell::Missing) || *cell == Cell::Text(String::new());
        let allowed = self.mapping.extra_fields == ExtraFields::Empty && extra.iter().all(is_empty);
        if !extra.is_empty() && !allowed {
            return ragged(format!("at most {} fields, as many as columns", self.columns.len()));
        }
        if row.cells.len() < self.columns.len() && self.mapping.missing_fields == MissingFields::Reject {
            return ragged(format!("{} fields, as many as columns", self.columns.len()));
        }
        Ok(())
    }

    /// The item's text after its transforms; `None` is null.
    fn text<'r>(
        &self,
        position: usize,
        row: &'r Row,
        made: &Texts<'_>,
    ) -> Result<Option<Cow<'r, str>>, Breach> {
        let Some(Some(rule)) = self.mapping.rules.get(position) else { return Ok(None) };
        let places = self.positions.get(position).map(Vec::as_slice).unwrap_or_default();
        match &rule.origin {
            Origin::Constant(text) => Ok(Some(Cow::Owned(text.clone()))),
            Origin::Column(_) => match places.first() {
                Some(Some(place)) => self.transformed(position, rule, *place, row),
                _ => Ok(None),
            },
            Origin::Columns(_) => {
                let mut parts = Vec::new();
                for place in places {
                    parts.push(match place {
                        Some(place) => self.transformed(position, rule, *place, row)?,
                        None => None,
                    });
                }
                self.joined(position, parts.iter().map(Option::as_deref))
            }
            Origin::Items(items) => {
                let parts = items.iter().map(|item| {
                    let made = self.position(item).and_then(|part| made.get(part));
                    made.and_then(Option::as_deref)
                });
                self.joined(position, parts)
            }
        }
    }

    fn joined<'p, 'r>(
        &self,
        position: usize,
        parts: impl Iterator<Item = Option<&'p str>>,
    ) -> Result<Option<Cow<'r, str>>, Breach> {
        let parts: Vec<&str> = parts.map(Option::unwrap_or_default).collect();
        // Two different rows must not give one key.
        if let Some(part) = parts.iter().find(|part| part.contains('|')) {
            let item = self.item(position);
            return Err(Breach {
                column: None,
                item,
                shape: shape(part),
                rule: "a part of a key without `|`".into(),
                key: None,
            });
        }
        let is_empty = parts.iter().all(|part| part.is_empty());
        Ok((!is_empty).then(|| Cow::Owned(parts.join("|"))))
    }

    fn transformed<'r>(
        &self,
        position: usize,
        rule: &ItemRule,
        place: usize,
        row: &'r Row,
    ) -> Result<Option<Cow<'r, str>>, Breach> {
        let breach = |shape: String, rule: String| Breach {
            column: self.columns.get(place).cloned(),
            item: self.item(position),
            shape,
            rule,
            key: None,
        };
        match row.cells.get(place).unwrap_or(&Cell::Missing) {
            Cell::Null => Ok(None),
            Cell::Missing if rule.optional || self.mapping.missing_fields == MissingFields::Null => Ok(None),
            Cell::Missing => {
                Err(breach("missing".into(), "a field for every column that is not optional".into()))
            }
            Cell::Nested => Err(breach("nested".into(), "one value".into())),
            Cell::Undecodable(undecodable) => {
                let at = row.at.map_or(String::new(), |at| format!(", in the row that starts at byte {at}"));
                Err(breach(format!("byte {} of the field{at}", undecodable.at), undecodable.encoding.into()))
            }
            // No text is no value.
            Cell::Text(text) if text.is_empty() => Ok(None),
            Cell::Text(text) if text.contains('\0') => {
                Err(breach(shape(text), "text without null characters".into()))
            }
            Cell::Text(text) => match transform::apply(&rule.transforms, text) {
                Ok(made) => Ok(made.filter(|made| !made.is_empty())),
                Err(rule) => Err(breach(shape(text), rule)),
            },
        }
    }

    fn encode(&self, texts: &Texts<'_>, row: &Row) -> Result<Vec<u8>, Breach> {
        let mut body = Vec::with_capacity(256);
        for (position, field) in self.mapping.shape.fields.iter().enumerate() {
            let text = texts.get(position).and_then(Option::as_deref);
            if text.is_none() && position == self.mapping.key {
                return Err(self.breach(position, texts, row, "a value is required: it is the key".into()));
            }
            avro::put(&field.kind, text, &mut body)
                .map_err(|rule| self.breach(position, texts, row, rule))?;
        }
        Ok(body)
    }

    /// A breach of an item whose text is known.
    fn breach(&self, position: usize, texts: &Texts<'_>, row: &Row, rule: String) -> Breach {
        let place = self.positions.get(position).and_then(|places| places.first().copied().flatten());
        let text = match (
            texts.get(position).and_then(Option::as_deref),
            place.and_then(|place| row.cells.get(place)),
        ) {
            (Some(text), _) => text,
            (None, Some(Cell::Text(text))) => text,
            (None, _) => "",
        };
        Breach {
            column: place.and_then(|place| self.columns.get(place).cloned()),
            item: self.item(position),
            shape: shape(text),
            rule,
            key: self.key_of(texts, position),
        }
    }

    /// The key, where the broken item is not the key itself. A joined key has a text only once all its parts do.
    fn key_of(&self, texts: &Texts<'_>, broken: usize) -> Option<Vec<u8>> {
        let reads_broken = match self.mapping.rules.get(self.mapping.key) {
            Some(Some(ItemRule { origin: Origin::Items(items), .. })) => {
                items.iter().any(|item| self.position(item) == Some(broken))
            }
            _ => false,
        };
        if broken == self.mapping.key || reads_broken {
            return None;
        }
        texts.get(self.mapping.key)?.as_ref().map(|text| text.as_bytes().to_vec())
    }

    fn position(&self, item: &str) -> Option<usize> {
        self.mapping.shape.fields.iter().position(|field| field.name == item)
    }

    fn item(&self, position: usize) -> Option<String> {
        self.mapping.shape.fields.get(position).map(|field| field.name.clone())
    }
}
