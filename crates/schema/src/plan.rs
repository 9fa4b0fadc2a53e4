//! The way out: a view compiled for one schema version, as steps over Avro binary.

use shuniu_model::{ItemName, Treatment, View};

use crate::cursor::{Cursor, Malformed};
use crate::filter::{Filter, FilterError, NoDefault, Program};
use crate::node::{Hop, NodeId, Nodes};
use crate::project::{self, Leaving};
use crate::pseudonym::PseudonymKey;
use crate::schema::Schema;
use crate::treat::{Treated, Unfit};

/// A view that cannot be compiled for a schema version. `check_view` finds all of it when a grant is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Neither version has the item.
    #[error("the schema has no item `{item}`")]
    UnknownItem {
        /// The item.
        item: ItemName,
    },
    /// The treatment is not for the item's type.
    #[error("item `{item}` of the writer's version")]
    Unfit {
        /// The item.
        item: ItemName,
        /// Why.
        #[source]
        source: Unfit,
    },
    /// The row filter is not one for the current version.
    #[error("cannot compile the row filter")]
    Filter {
        /// What is wrong.
        #[source]
        source: FilterError,
    },
    /// The row filter reads an item that the writer's version lacks.
    #[error("cannot compile the row filter for the writer's version")]
    FilterDefault {
        /// Which item.
        #[source]
        source: NoDefault,
    },
}

/// A view compiled for one writer's schema version: rows that match, the items that leave, the key's form.
#[derive(Debug, Clone)]
pub struct Plan {
    writer: Schema,
    pseudonym: PseudonymKey,
    keeps_key: bool,
    is_whole: bool,
    filter: Option<Program>,
    steps: Box<[Step]>,
    projected: String,
}

#[derive(Debug, Clone)]
enum Step {
    /// Adjacent items that leave as they are: one copied byte range.
    Copy(Box<[Hop]>),
    /// Adjacent items that do not leave.
    Skip(Box<[Hop]>),
    Treat(Treated),
}

impl Plan {
    /// Compiles `view` for records of the version `writer` of a resource whose current version is `latest`.
    pub fn compile(
        writer: &Schema,
        latest: &Schema,
        key_item: &ItemName,
        view: &View,
        key: &PseudonymKey,
    ) -> Result<Self, PlanError> {
        let mut plan = Self {
            writer: writer.clone(),
            pseudonym: key.clone(),
            keeps_key: keeps_key(view, key_item),
            is_whole: view.is_whole(),
            filter: None,
            steps: Box::default(),
            projected: String::new(),
        };
        if view.is_whole() {
            plan.projected = writer.text().to_owned();
            return Ok(plan);
        }
        for item in view.items() {
            if writer.item(item.name.as_str()).is_none() && latest.item(item.name.as_str()).is_none() {
                return Err(PlanError::UnknownItem { item: item.name.clone() });
            }
        }
        if let Some(text) = view.filter() {
            let filter = Filter::parse(text, latest).map_err(|source| PlanError::Filter { source })?;
            let program = Program::compile(&filter, writer, latest);
            plan.filter = Some(program.map_err(|source| PlanError::FilterDefault { source })?);
        }
        let compiled = compile_items(writer, view)?;
        let leaving: Vec<Leaving<'_>> = compiled
            .iter()
            .filter(|item| *item.treatment != Treatment::Drop)
            .map(|item| Leaving {
                position: item.position,
                node: item.node,
                treatment: item.treatment,
                treated: item.treated.as_ref(),
            })
            .collect();
        plan.projected = project::schema(writer, &leaving, key).map_err(|(position, source)| {
            let item =
                writer.items().get(position).map_or_else(|| key_item.clone(), |item| item.name.clone());
            PlanError::Unfit { item, source }
        })?;
        plan.steps = steps(writer.nodes(), compiled);
        Ok(plan)
    }

    /// Whether the row passes the view's filter. Reads no further than the items that decide it.
    pub fn matches(&self, body: &[u8]) -> Result<bool, Malformed> {
        self.filter.as_ref().map_or(Ok(true), |filter| filter.matches(self.writer.nodes(), body))
    }

    /// Whether the view has a row filter.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether bodies and keys leave as they are.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Appends the Avro body of what leaves, without a frame.
    pub fn project(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.is_whole {
            out.extend_from_slice(body);
            return Ok(());
        }
        let nodes = self.writer.nodes();
        let mut cursor = Cursor::new(body);
        for step in &self.steps {
            match step {
                Step::Copy(items) => {
                    let start = cursor.at();
                    nodes.skip_all(items, &mut cursor)?;
                    out.extend_from_slice(cursor.since(start));
                }
                Step::Skip(items) => {
                    nodes.skip_all(items, &mut cursor)?;
                }
                Step::Treat(treated) => treated.put(nodes, &self.pseudonym, &mut cursor, out)?,
            }
        }
        Ok(())
    }

    /// Appends the record's key as the view delivers it: as it is where the view keeps the key item, else its
    /// pseudonym, for deletions too.
    pub fn key(&self, key: &[u8], out: &mut Vec<u8>) {
        if self.keeps_key { out.extend_from_slice(key) } else { self.pseudonym.put(key, out) }
    }

    /// The schema of what leaves, as Avro JSON. The same version and view always give the same text.
    #[must_use]
    pub fn projected_schema(&self) -> &str {
        &self.projected
    }
}

/// Whether a view delivers the record's key as it is.
#[must_use]
pub fn keeps_key(view: &View, key_item: &ItemName) -> bool {
    *view.treatment(key_item.as_str()) == Treatment::Keep
}

struct CompiledItem<'a> {
    position: usize,
    node: NodeId,
    treatment: &'a Treatment,
    treated: Option<Treated>,
}

fn compile_items<'a>(writer: &Schema, view: &'a View) -> Result<Vec<CompiledItem<'a>>, PlanError> {
    let fields = writer.nodes().items().iter().zip(writer.items());
    fields
        .enumerate()
        .map(|(position, (field, item))| {
            let treatment = view.treatment(&field.name);
            let treated = match treatment {
                Treatment::Keep | Treatment::Drop => None,
                _ => Some(
                    Treated::compile(writer.nodes(), field.node, treatment)
                        .map_err(|source| PlanError::Unfit { item: item.name.clone(), source })?,
                ),
            };
            Ok(CompiledItem { position, node: field.node, treatment, treated })
        })
        .collect()
}

/// Merges neighbours. What follows the last item that leaves is not even walked.
fn steps(nodes: &Nodes, items: Vec<CompiledItem<'_>>) -> Box<[Step]> {
    let mut steps = Vec::new();
    let mut run: (bool, Vec<NodeId>) = (true, Vec::new());
    let end = |run: &mut (bool, Vec<NodeId>), steps: &mut Vec<Step>| {
        let hops = nodes.hops(std::mem::take(&mut run.1));
        if !hops.is_empty() {
            steps.push(if run.0 { Step::Copy(hops) } else { Step::Skip(hops) });
        }
    };
    for item in items {
        let kept = *item.treatment == Treatment::Keep;
        if item.treated.is_some() || run.0 != kept {
            end(&mut run, &mut steps);
            run.0 = kept;
        }
        match item.treated {
            Some(treated) => steps.push(Step::Treat(treated)),
            None => run.1.push(item.node),
        }
    }
    if run.0 {
        end(&mut run, &mut steps);
    }
    steps.into()
}
