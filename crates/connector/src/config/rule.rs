//! How an item is made from columns.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Where an item's text comes from and what is done to it.
#[derive(Debug, Clone)]
pub(crate) struct ItemRule {
    pub(crate) origin: Origin,
    /// The column may be absent from a file; the item is then null.
    pub(crate) optional: bool,
    pub(crate) transforms: Vec<Transform>,
}

#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// One column; several names are alternatives, of which a file has one.
    Column(Vec<String>),
    /// Several columns, each transformed, joined by `|`.
    Columns(Vec<String>),
    /// Other items, as they read after their own transforms, joined by `|`.
    Items(Vec<String>),
    Constant(String),
}

/// One change of a text. They are chained in the declared order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Transform {
    /// Blanks at both ends go, ideographic ones too.
    Trim,
    Upper,
    Lower,
    /// Full-width Latin letters, digits, signs and blanks become half-width.
    HalfWidth,
    /// Half-width Latin letters, digits, signs and blanks become full-width.
    FullWidth,
    /// These texts mean that there is no value.
    Null(Texts),
    /// A date in one of these forms (`era` or a strptime pattern) becomes ISO 8601.
    Date(Texts),
    /// A part of an amount such as `5,147.1628(万)` or `700(万美元)`.
    Amount(AmountPart),
    /// Texts that are replaced.
    Lookup(Lookup),
    /// The first characters, at most so many.
    Prefix(usize),
    /// Characters from..to, counted from 0; the end is exclusive.
    Slice((usize, usize)),
    Hash(Hash),
}

/// One text or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) Vec<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AmountPart {
    /// The number in units of the currency.
    Units,
    /// The number in 10,000 of the currency.
    TenThousands,
    /// The currency's ISO 4217 code.
    Currency,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lookup {
    pub(crate) values: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) otherwise: Otherwise,
}

/// What becomes of a text that a lookup does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Otherwise {
    #[default]
    Reject,
    Null,
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Hash {
    #[serde(rename = "sha-256")]
    Sha256,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    column: Option<Texts>,
    columns: Option<Vec<String>>,
    items: Option<Vec<String>>,
    constant: Option<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    transforms: Vec<Transform>,
}

impl<'de> Deserialize<'de> for ItemRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = ItemRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name or a table with `column`, `columns`, `items` or `constant`")
            }

            fn visit_str<E: serde::de::Error>(self, column: &str) -> Result<ItemRule, E> {
                let origin = Origin::Column(vec![column.to_owned()]);
                Ok(ItemRule { origin, optional: false, transforms: Vec::new() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ItemRule, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let origin = match (table.column, table.columns, table.items, table.constant) {
                    (Some(Texts(names)), None, None, None) => Origin::Column(names),
                    (None, Some(columns), None, None) => Origin::Columns(columns),
                    (None, None, Some(items), None) => Origin::Items(items),
                    (None, None, None, Some(text)) => Origin::Constant(text),
                    _ => {
                        return Err(serde::de::Error::custom(
                            "an item has exactly one of `column`, `columns`, `items` and `constant`",
                        ));
                    }
                };
                Ok(ItemRule { origin, optional: table.optional, transforms: table.transforms })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut texts: A) -> Result<Texts, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = texts.next_element()? {
                    all.push(text);
                }
                Ok(Texts(all))
            }
        }
        deserializer.deserialize_any(Form)
    }
}
