//! From text to a typed test. The syntax is the cel crate's; the types are the schema's.

use std::fmt;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use shuniu_model::{ItemName, Sharing};

use super::{Comparison, FILTER_BYTES_MAX, FILTER_ITEMS_MAX, FilterProblem, Literal, Test};
use crate::node::{IntKind, LongKind, Node, NodeId, Nodes};
use crate::schema::Schema;
use crate::{decimal, text};

/// What an item or literal can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Text,
    Number,
    Date,
    Instant,
    /// Arrays, bytes and the like: only null tests.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "a boolean",
            Self::Text => "text",
            Self::Number => "a number",
            Self::Date => "a date",
            Self::Instant => "an instant",
            Self::Other => "of a type that is not compared",
        })
    }
}

/// Parses a filter, or says everything that is wrong with it.
pub(super) fn parse(source: &str, latest: &Schema) -> Result<(Vec<ItemName>, Test), Vec<FilterProblem>> {
    let whole = |what: String| vec![FilterProblem { line: 1, column: 1, what }];
    if source.len() > FILTER_BYTES_MAX {
        return Err(whole(format!(
            "the filter has {} bytes, and at most {FILTER_BYTES_MAX} are allowed",
            source.len()
        )));
    }
    if source.trim().is_empty() {
        return Err(whole("the filter is empty: leave it out to deliver every row".to_owned()));
    }
    let (expression, places) = match cel::parser::Parser::new().parse_with_source_info(source) {
        Ok(parsed) => parsed,
        Err(errors) => return Err(syntax_problems(errors)),
    };
    let mut typer = Typer { latest, source, places, items: Vec::new(), problems: Vec::new() };
    let test = typer.test(&expression);
    if typer.items.len() > FILTER_ITEMS_MAX {
        typer.problems.extend(whole(format!("the filter names more than {FILTER_ITEMS_MAX} items")));
    }
    match test {
        Some(test) if typer.problems.is_empty() => Ok((typer.items, test)),
        _ => Err(typer.problems),
    }
}

/// At most this many: one slip makes a parser stumble many times.
const SYNTAX_PROBLEMS_MAX: usize = 3;

fn syntax_problems(errors: cel::ParseErrors) -> Vec<FilterProblem> {
    let problems: Vec<FilterProblem> = errors
        .errors
        .into_iter()
        .take(SYNTAX_PROBLEMS_MAX)
        .map(|error| FilterProblem {
            line: usize::try_from(error.pos.0).unwrap_or(0).max(1),
            column: usize::try_from(error.pos.1).unwrap_or(0).max(1),
            what: format!("not CEL: {}", error.msg),
        })
        .collect();
    if problems.is_empty() {
        return vec![FilterProblem { line: 1, column: 1, what: "not CEL".to_owned() }];
    }
    problems
}

/// One side of a comparison.
enum Operand {
    Item(usize, Kind),
    Literal(Literal, Kind),
    Null,
}

struct Typer<'a> {
    latest: &'a Schema,
    source: &'a str,
    places: SourceInfo,
    items: Vec<ItemName>,
    problems: Vec<FilterProblem>,
}

impl Typer<'_> {
    fn problem<T>(&mut self, at: &IdedExpr, what: impl Into<String>) -> Option<T> {
        let start = self.places.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        let before = self.source.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        self.problems.push(FilterProblem {
            line: before.matches('\n').count() + 1,
            column,
            what: what.into(),
        });
        None
    }

    fn test(&mut self, at: &IdedExpr) -> Option<Test> {
        let Expr::Call(call) = &at.expr else {
            return match &at.expr {
                Expr::Ident(name) => {
                    self.problem(at, format!("`{name}` alone is no test: write `{name} == true`"))
                }
                Expr::Literal(_) => self.problem(at, "a literal alone is no test: compare an item with it"),
                _ => self.problem(at, ALLOWED),
            };
        };
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::LOGICAL_AND, None, tests) => self.tests(tests).map(Test::All),
            (operators::LOGICAL_OR, None, tests) => self.tests(tests).map(Test::Any),
            (operators::LOGICAL_NOT, None, [test]) => self.test(test).map(|test| Test::Not(Box::new(test))),
            (operators::IN, None, [item, list]) => self.one_of(item, list),
            ("startsWith", Some(item), [prefix]) => self.starts_with(item, prefix),
            (name, None, [left, right]) => match comparison(name) {
                Some(comparison) => self.compare(at, left, comparison, right),
                None => self.refuse_call(at, call),
            },
            _ => self.refuse_call(at, call),
        }
    }

    /// All parts are looked at, so that all problems are found.
    fn tests(&mut self, parts: &[IdedExpr]) -> Option<Box<[Test]>> {
        let tests: Vec<Option<Test>> = parts.iter().map(|part| self.test(part)).collect();
        tests.into_iter().collect()
    }

    fn refuse_call<T>(&mut self, at: &IdedExpr, call: &CallExpr) -> Option<T> {
        let name = call.func_name.trim_matches('_');
        self.problem(at, format!("`{name}` is not part of filters: {ALLOWED}"))
    }

    fn compare(
        &mut self,
        at: &IdedExpr,
        left: &IdedExpr,
        comparison: Comparison,
        right: &IdedExpr,
    ) -> Option<Test> {
        let (left, right) = (self.operand(left), self.operand(right));
        match (left?, right?) {
            (Operand::Item(item, _), Operand::Null) | (Operand::Null, Operand::Item(item, _)) => {
                match comparison {
                    Comparison::Equal => Some(Test::IsNull { item, wanted: true }),
                    Comparison::NotEqual => Some(Test::IsNull { item, wanted: false }),
                    _ => self.problem(at, "null has no order: only `== null` and `!= null` can be asked"),
                }
            }
            (Operand::Item(item, kind), Operand::Literal(literal, of)) => {
                self.same_kind(at, kind, of, comparison)?;
                Some(Test::Compare { item, comparison, literal })
            }
            (Operand::Literal(literal, of), Operand::Item(item, kind)) => {
                self.same_kind(at, kind, of, comparison)?;
                Some(Test::Compare { item, comparison: comparison.flipped(), literal })
            }
            (Operand::Item(left, kind), Operand::Item(right, of)) => {
                self.same_kind(at, kind, of, comparison)?;
                Some(Test::CompareItems { left, comparison, right })
            }
            (Operand::Literal(..) | Operand::Null, Operand::Literal(..) | Operand::Null) => {
                self.problem(at, "a comparison needs an item on one side")
            }
        }
    }

    fn same_kind(&mut self, at: &IdedExpr, left: Kind, right: Kind, comparison: Comparison) -> Option<()> {
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        match (left, right) {
            (Kind::Other, _) | (_, Kind::Other) => {
                self.problem(at, "an item of this type cannot be compared: only null tests are for it")
            }
            (left, right) if left != right => self
                .problem(at, format!("the two sides do not compare: the one is {left}, the other {right}")),
            (Kind::Boolean, _) if !equality => self.problem(at, "booleans have no order: use == or !="),
            _ => Some(()),
        }
    }

    fn one_of(&mut self, left: &IdedExpr, list: &IdedExpr) -> Option<Test> {
        let item = self.item(left);
        let Expr::List(list_expression) = &list.expr else {
            return self.problem(list, "`in` takes a list of literals: `sex in ['1', '2']`");
        };
        if list_expression.elements.is_empty() || !list_expression.optional_indices.is_empty() {
            return self.problem(list, "the list names no literal");
        }
        let mut literals = Vec::with_capacity(list_expression.elements.len());
        for element in &list_expression.elements {
            match self.operand(element) {
                Some(Operand::Literal(literal, of)) => {
                    if let Some((_, kind)) = item
                        && self.same_kind(element, kind, of, Comparison::Equal).is_some()
                    {
                        literals.push(literal);
                    }
                }
                Some(Operand::Item(..)) => self.problem(element, "a list holds literals only").unwrap_or(()),
                Some(Operand::Null) => {
                    self.problem(element, "null in a list is never equal: write `|| item == null`")
                        .unwrap_or(());
                }
                None => {}
            }
        }
        let complete = literals.len() == list_expression.elements.len();
        let (item, _) = item?;
        complete.then(|| Test::OneOf { item, literals: literals.into() })
    }

    fn starts_with(&mut self, target: &IdedExpr, prefix: &IdedExpr) -> Option<Test> {
        let item = self.item(target);
        let Expr::Literal(LiteralValue::String(prefix)) = &prefix.expr else {
            return self.problem(prefix, "`startsWith` takes a text literal: `division.startsWith('5001')`");
        };
        match item? {
            (item, Kind::Text) => Some(Test::StartsWith { item, prefix: prefix.inner().into() }),
            (_, kind) => self.problem(target, format!("`startsWith` is for text, and the item is {kind}")),
        }
    }

    fn item(&mut self, at: &IdedExpr) -> Option<(usize, Kind)> {
        match self.operand(at)? {
            Operand::Item(item, kind) => Some((item, kind)),
            Operand::Literal(..) | Operand::Null => self.problem(at, "an item must stand here"),
        }
    }

    fn operand(&mut self, at: &IdedExpr) -> Option<Operand> {
        match &at.expr {
            Expr::Ident(name) => self.named(at, name),
            Expr::Literal(literal) => self.literal(at, literal),
            Expr::Call(call) if call.func_name == "date" && call.target.is_none() => self.date(at, call),
            Expr::Call(call) if call.func_name == operators::NEGATE => {
                self.problem(at, "only a number literal can be negative: `-5`")
            }
            Expr::Call(call) => self.refuse_call(at, call),
            Expr::Select(_) => {
                self.problem(at, "only the resource's items can be named, and not their parts")
            }
            _ => self.problem(at, ALLOWED),
        }
    }

    fn named(&mut self, at: &IdedExpr, name: &str) -> Option<Operand> {
        let Some((position, node)) = self.latest.nodes().item(name) else {
            return self.problem(at, format!("the resource has no item `{name}`"));
        };
        let item = self.latest.items().get(position)?;
        if let Sharing::NotShared { .. } = item.sharing {
            return self.problem(at, format!("item `{name}` is not shared and cannot be used in a filter"));
        }
        let index = self.items.iter().position(|known| *known == item.name).unwrap_or_else(|| {
            self.items.push(item.name.clone());
            self.items.len() - 1
        });
        Some(Operand::Item(index, kind(self.latest.nodes(), node)))
    }

    fn literal(&mut self, at: &IdedExpr, literal: &LiteralValue) -> Option<Operand> {
        let (literal, kind) = match literal {
            LiteralValue::Null => return Some(Operand::Null),
            LiteralValue::Boolean(value) => (Literal::Boolean(*value.inner()), Kind::Boolean),
            LiteralValue::String(value) => (Literal::Text(value.inner().into()), Kind::Text),
            LiteralValue::Int(value) => (number(&value.inner().to_string())?, Kind::Number),
            // A double's shortest text is what was written, up to 17 digits.
            LiteralValue::Double(value) => match number(&value.inner().to_string()) {
                Some(literal) => (literal, Kind::Number),
                None => return self.problem(at, "a number with more digits than can be compared exactly"),
            },
            LiteralValue::UInt(_) => return self.problem(at, "write the number without `u`"),
            LiteralValue::Bytes(_) => return self.problem(at, "bytes are not part of filters"),
        };
        Some(Operand::Literal(literal, kind))
    }

    fn date(&mut self, at: &IdedExpr, call: &CallExpr) -> Option<Operand> {
        let [IdedExpr { expr: Expr::Literal(LiteralValue::String(value)), .. }] = call.args.as_slice() else {
            return self.problem(at, "a date is written `date('2024-01-01')`");
        };
        match text::parse_date(value.inner()) {
            Some(day) => {
                let literal = Literal::Number { unscaled: i128::from(day), scale: 0, double: f64::from(day) };
                Some(Operand::Literal(literal, Kind::Date))
            }
            None => self.problem(at, format!("`{}` is no day: write `date('2024-01-01')`", value.inner())),
        }
    }
}

const ALLOWED: &str = "a filter is made of comparisons, `in` a literal list, startsWith, null tests, date('2024-01-01'), &&, || and !";

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn number(value: &str) -> Option<Literal> {
    let (unscaled, scale) = decimal::parse(value).filter(|(_, scale)| *scale <= decimal::PRECISION_MAX)?;
    Some(Literal::Number { unscaled, scale, double: value.parse().ok()? })
}

/// What all values of an item can be compared with.
fn kind(nodes: &Nodes, id: NodeId) -> Kind {
    let kinds = nodes.branches(&id).iter().filter_map(|branch| match nodes.of(*branch) {
        Node::Null => None,
        Node::Boolean => Some(Kind::Boolean),
        Node::Text { .. } | Node::Enum { .. } => Some(Kind::Text),
        Node::Int(IntKind::Plain)
        | Node::Long(LongKind::Plain)
        | Node::Float
        | Node::Double
        | Node::Decimal(_) => Some(Kind::Number),
        Node::Int(IntKind::Date) => Some(Kind::Date),
        Node::Long(LongKind::Instant(_)) => Some(Kind::Instant),
        Node::Int(IntKind::TimeMillis)
        | Node::Long(LongKind::TimeMicros | LongKind::Local(_))
        | Node::Bytes
        | Node::Fixed { .. }
        | Node::Array(_)
        | Node::Map(_)
        | Node::Union(_)
        | Node::Record { .. } => Some(Kind::Other),
    });
    kinds.reduce(|one, other| if one == other { one } else { Kind::Other }).unwrap_or(Kind::Other)
}
