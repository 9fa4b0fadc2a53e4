//! Treatments on Avro binary. null stays null.

use shuniu_model::{Generalisation, MaskRule, Treatment};

use crate::cursor::{Cursor, Malformed, put_bytes, put_long};
use crate::json::{Notation, encode};
use crate::node::{DecimalType, Fraction, IntKind, LongKind, Node, NodeId, Nodes};
use crate::pseudonym::PseudonymKey;
use crate::{decimal, text};

/// Why a treatment cannot be applied to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The item's type has no such treatment.
    #[error("{treatment} is for {wanted}")]
    Type {
        /// The treatment.
        treatment: &'static str,
        /// The types that have it.
        wanted: &'static str,
    },
    /// The step is not above zero.
    #[error("a step must be above 0")]
    Step,
    /// A prefix of no characters.
    #[error("a prefix must have at least 1 character: use a constant to hide the whole text")]
    Prefix,
    /// The constant is not JSON of the item's type.
    #[error("the constant is not a value of the item's type")]
    Constant,
    /// The constant is of another branch of the union than the item's default.
    #[error("the constant is of another type than the item's default")]
    ConstantDefault,
}

/// A treatment compiled for one item of one schema version.
#[derive(Debug, Clone)]
pub(crate) struct Treated {
    /// Whether the item is a union, so that a branch index comes first.
    is_union: bool,
    branches: Box<[Branch]>,
}

#[derive(Debug, Clone)]
struct Branch {
    node: NodeId,
    /// The index that is written; `None` when the action writes it.
    index: Option<i64>,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Null,
    Mask(MaskRule),
    Prefix(u32),
    Pseudonym,
    FloorInt(i64),
    FloorLong(i64),
    FloorFloat(f64),
    FloorDouble(f64),
    FloorDecimal(DecimalType, i128),
    FirstDay(Unit),
    FirstInstant(Fraction, Unit),
    Constant(Box<[u8]>),
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Month,
    Year,
}

impl Treated {
    /// Compiles a treatment that rewrites, or says why it does not fit the item. `Keep` and `Drop` rewrite nothing
    /// and are the plan's own.
    pub(crate) fn compile(nodes: &Nodes, id: NodeId, treatment: &Treatment) -> Result<Self, Unfit> {
        let branches = nodes.branches(&id);
        let is_union = matches!(nodes.of(id), Node::Union(_));
        let constant = match treatment {
            Treatment::Constant(json) => {
                let json = serde_json::from_str(json).map_err(|_| Unfit::Constant)?;
                let mut bytes = Vec::new();
                encode(nodes, id, &json, Notation::Constant, &mut bytes).ok_or(Unfit::Constant)?;
                Some(bytes.into_boxed_slice())
            }
            _ => None,
        };
        let null = branches.iter().position(|branch| *nodes.of(*branch) == Node::Null);
        let mut rewrites = false;
        let mut compiled = Vec::with_capacity(branches.len());
        for (position, branch) in branches.iter().enumerate() {
            let is_null = Some(position) == null;
            let action = match &constant {
                _ if is_null => Action::Null,
                Some(bytes) => Action::Constant(bytes.clone()),
                None => action(nodes.of(*branch), treatment)?,
            };
            rewrites |= !is_null;
            let index = match (&action, treatment) {
                (Action::Constant(_), _) => None,
                // The pseudonym's type is string, with null first where it was first.
                (_, Treatment::Pseudonym) => Some(i64::from(is_null == (null != Some(0)))),
                _ => i64::try_from(position).ok(),
            };
            compiled.push(Branch { node: *branch, index, action });
        }
        if !rewrites {
            return Err(Unfit::Type { treatment: name(treatment), wanted: "items that can hold a value" });
        }
        let single_branch = treatment == &Treatment::Pseudonym && null.is_none();
        if single_branch {
            // Without null there is nothing to tell apart: the type is string alone.
            compiled.iter_mut().for_each(|branch| branch.index = None);
        }
        Ok(Self { is_union, branches: compiled.into() })
    }

    /// Reads the item and appends its treated value.
    pub(crate) fn put(
        &self,
        nodes: &Nodes,
        key: &PseudonymKey,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let position = if self.is_union {
            cursor.index(self.branches.len(), "a union branch that does not exist")?
        } else {
            0
        };
        let Some(branch) = self.branches.get(position) else {
            return Err(cursor.malformed("a union branch that does not exist"));
        };
        if self.is_union
            && let Some(index) = branch.index
        {
            put_long(index, out);
        }
        branch.put(nodes, key, cursor, out)
    }
}

impl Branch {
    fn put(
        &self,
        nodes: &Nodes,
        key: &PseudonymKey,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        match &self.action {
            Action::Null => {}
            Action::Mask(rule) => put_masked(cursor.string()?, *rule, out),
            Action::Prefix(chars) => {
                let value = cursor.string()?;
                put_bytes(head(value, *chars).as_bytes(), out);
            }
            Action::Pseudonym => {
                // The length of a pseudonym is below 64: one byte.
                put_long(crate::pseudonym::PSEUDONYM_CHARS as i64, out);
                if let Node::Text { .. } = nodes.of(self.node) {
                    key.put(cursor.bytes()?, out);
                } else {
                    let mut value = Vec::with_capacity(48);
                    text::read(nodes, self.node, cursor, &mut value)?;
                    key.put(&value, out);
                }
            }
            Action::FloorInt(step) => {
                let value = i64::from(cursor.int()?);
                put_long(floor(value, *step).max(i64::from(i32::MIN)), out);
            }
            Action::FloorLong(step) => put_long(floor(cursor.long()?, *step), out),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the item is a float, and so is its lower bound"
            )]
            Action::FloorFloat(step) => {
                let value = f64::from(f32::from_le_bytes(cursor.array()?));
                out.extend_from_slice(&(floor_float(value, *step) as f32).to_le_bytes());
            }
            Action::FloorDouble(step) => {
                let value = f64::from_le_bytes(cursor.array()?);
                out.extend_from_slice(&floor_float(value, *step).to_le_bytes());
            }
            Action::FloorDecimal(kind, step) => put_floor_decimal(kind, *step, cursor, out)?,
            Action::FirstDay(unit) => put_long(first_day(i64::from(cursor.int()?), *unit), out),
            Action::FirstInstant(fraction, unit) => {
                let per_day = fraction.per_second() * 86_400;
                let day = first_day(cursor.long()?.div_euclid(per_day), *unit);
                put_long(day.saturating_mul(per_day), out);
            }
            Action::Constant(bytes) => {
                nodes.skip(self.node, cursor)?;
                out.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

/// The treatment's name, for messages.
pub(crate) fn name(treatment: &Treatment) -> &'static str {
    match treatment {
        Treatment::Keep => "keep",
        Treatment::Drop => "drop",
        Treatment::Mask(_) => "mask",
        Treatment::Pseudonym => "pseudonym",
        Treatment::Generalise(_) => "generalise",
        Treatment::Constant(_) => "constant",
    }
}

fn action(node: &Node, treatment: &Treatment) -> Result<Action, Unfit> {
    match treatment {
        Treatment::Mask(rule) => match node {
            Node::Text { .. } => Ok(Action::Mask(*rule)),
            _ => Err(Unfit::Type { treatment: "mask", wanted: "strings" }),
        },
        Treatment::Pseudonym if text::has_text(node) => Ok(Action::Pseudonym),
        Treatment::Pseudonym => Err(Unfit::Type {
            treatment: "pseudonym",
            wanted: "strings, integers, dates, decimals and enums",
        }),
        Treatment::Generalise(how) => generalise(node, *how),
        Treatment::Keep | Treatment::Drop | Treatment::Constant(_) => {
            Err(Unfit::Type { treatment: name(treatment), wanted: "items as they are" })
        }
    }
}

fn generalise(node: &Node, how: Generalisation) -> Result<Action, Unfit> {
    let unit = match how {
        Generalisation::Prefix(0) => return Err(Unfit::Prefix),
        Generalisation::Prefix(chars) => {
            return match node {
                Node::Text { .. } => Ok(Action::Prefix(chars)),
                _ => Err(Unfit::Type { treatment: "prefix", wanted: "strings" }),
            };
        }
        Generalisation::Step(step) => return floor_action(node, step),
        Generalisation::Month => Unit::Month,
        Generalisation::Year => Unit::Year,
    };
    match node {
        Node::Int(IntKind::Date) => Ok(Action::FirstDay(unit)),
        Node::Long(LongKind::Instant(fraction)) => Ok(Action::FirstInstant(*fraction, unit)),
        _ => Err(Unfit::Type { treatment: "month or year", wanted: "dates and instants" }),
    }
}

fn floor_action(node: &Node, step: i64) -> Result<Action, Unfit> {
    if step <= 0 {
        return Err(Unfit::Step);
    }
    // A step beyond 2^53 is rounded, as the numbers of that size are.
    #[expect(clippy::cast_precision_loss, reason = "floats of that size have no finer steps")]
    let float = step as f64;
    match node {
        Node::Int(IntKind::Plain) => Ok(Action::FloorInt(step)),
        Node::Long(LongKind::Plain) => Ok(Action::FloorLong(step)),
        Node::Float => Ok(Action::FloorFloat(float)),
        Node::Double => Ok(Action::FloorDouble(float)),
        Node::Decimal(kind) => {
            let step = decimal::rescale(i128::from(step), 0, kind.scale).ok_or(Unfit::Step)?;
            Ok(Action::FloorDecimal(*kind, step))
        }
        _ => Err(Unfit::Type { treatment: "step", wanted: "numbers" }),
    }
}

fn put_masked(value: &str, rule: MaskRule, out: &mut Vec<u8>) {
    let chars = value.chars().count();
    let (first, last) = (rule.first as usize, rule.last as usize);
    let (head, stars, tail) = match chars.checked_sub(first.saturating_add(last)) {
        // No longer than what would stay: masked whole, or the mask would hide nothing.
        None | Some(0) => ("", chars, ""),
        Some(hidden) => {
            let end = value.char_indices().nth(chars - last).map_or(value.len(), |(index, _)| index);
            (head(value, rule.first), hidden, value.get(end..).unwrap_or_default())
        }
    };
    let length = head.len() + stars + tail.len();
    put_long(i64::try_from(length).unwrap_or(i64::MAX), out);
    out.extend_from_slice(head.as_bytes());
    out.extend(std::iter::repeat_n(b'*', stars));
    out.extend_from_slice(tail.as_bytes());
}

/// The first characters of a text.
fn head(value: &str, chars: u32) -> &str {
    match value.char_indices().nth(chars as usize) {
        Some((end, _)) => value.get(..end).unwrap_or_default(),
        None => value,
    }
}

/// The lower bound of a number's step. Where the type cannot hold it, the type's least value stands for it.
fn floor(value: i64, step: i64) -> i64 {
    value.div_euclid(step).checked_mul(step).unwrap_or(i64::MIN)
}

fn floor_float(value: f64, step: f64) -> f64 {
    (value / step).floor() * step
}

fn put_floor_decimal(
    kind: &DecimalType,
    step: i128,
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let start = cursor.clone();
    let bytes = match kind.size {
        Some(size) => cursor.take(size)?,
        None => cursor.bytes()?,
    };
    let value =
        decimal::read(bytes).ok_or_else(|| start.malformed("a decimal without bytes or over 128 bits"))?;
    let least = -decimal::most(kind.precision, kind.size);
    let bound = value.div_euclid(step).checked_mul(step).unwrap_or(least).max(least);
    decimal::put(bound, kind.size, out);
    Ok(())
}

fn first_day(day: i64, unit: Unit) -> i64 {
    let (year, month, _) = text::civil(day);
    match unit {
        Unit::Month => text::days(year, month, 1),
        Unit::Year => text::days(year, 1, 1),
    }
}
