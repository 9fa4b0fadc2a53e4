//! Whether a view fits a resource: asked when a grant is written, and again when a version is registered.

use shuniu_model::{ItemName, Resource, Sharing, Treatment, View};

use crate::filter::{Filter, FilterError};
use crate::plan::{Plan, PlanError, keeps_key};
use crate::pseudonym::PseudonymKey;
use crate::schema::{Schema, SchemaError};
use crate::treat::{Treated, Unfit, name};

/// A view that does not fit its resource: everything that is wrong with it, at once.
#[derive(Debug, thiserror::Error)]
#[error("the view does not fit: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ViewError {
    /// Never empty.
    pub problems: Vec<ViewProblem>,
}

/// One thing that is wrong with a view.
#[derive(Debug, thiserror::Error)]
pub enum ViewProblem {
    /// The resource as a whole is not shared.
    #[error("the resource is not shared ({basis})")]
    ResourceNotShared {
        /// The law, regulation or document that says so.
        basis: String,
    },
    /// No item leaves.
    #[error("the view names no item")]
    Empty,
    /// The current version has no such item.
    #[error("the resource has no item `{item}`")]
    UnknownItem {
        /// The item.
        item: ItemName,
    },
    /// The item is not shared, whatever the treatment.
    #[error("item `{item}` is not shared ({basis})")]
    NotShared {
        /// The item.
        item: ItemName,
        /// The law, regulation or document that says so.
        basis: String,
    },
    /// The treatment is not for the item's type.
    #[error("item `{item}`, {treatment}: {source}")]
    Unfit {
        /// The item.
        item: ItemName,
        /// The treatment.
        treatment: &'static str,
        /// Why.
        #[source]
        source: Unfit,
    },
    /// The resource does not allow row filters, so its records carry no `before`.
    #[error("the resource does not allow row filters")]
    FilterNotAllowed,
    /// The row filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Pseudonyms leave, and the view names no scope for them.
    #[error("pseudonyms leave ({reason}), and the view names no pseudonym scope and master key version")]
    NoPseudonymScope {
        /// Why pseudonyms leave.
        reason: &'static str,
    },
    /// A registered version is no schema.
    #[error("version {version} of the schema cannot be read")]
    Version {
        /// Which version.
        version: u32,
        /// Why.
        #[source]
        source: SchemaError,
    },
    /// The view fits the current version and not an earlier one, whose records are still on the topic.
    #[error("the view does not fit version {version}: {why}")]
    Earlier {
        /// Which version.
        version: u32,
        /// Why, with its cause: problems are shown in one list.
        why: String,
    },
}

/// Whether a view fits the resource, whose current version is `latest`: items exist and are shared, treatments fit
/// their types in every version, the filter is allowed and typed, pseudonyms have a scope.
pub fn check_view(latest: &Schema, resource: &Resource, view: &View) -> Result<(), ViewError> {
    let mut problems = Vec::new();
    if let Sharing::NotShared { basis } = &resource.sharing {
        problems.push(ViewProblem::ResourceNotShared { basis: basis.clone() });
    }
    for item in latest.items() {
        if let Sharing::NotShared { basis } = &item.sharing
            && *view.treatment(item.name.as_str()) != Treatment::Drop
        {
            problems.push(ViewProblem::NotShared { item: item.name.clone(), basis: basis.clone() });
        }
    }
    if view.items().is_empty() && !view.is_whole() {
        problems.push(ViewProblem::Empty);
    }
    check_items(latest, view, &mut problems);
    check_pseudonyms(resource, view, &mut problems);
    if let Some(text) = view.filter() {
        if !resource.row_filters {
            problems.push(ViewProblem::FilterNotAllowed);
        }
        problems.extend(Filter::parse(text, latest).err().map(ViewProblem::Filter));
    }
    // What is wrong with the current version would be said once more of each earlier one.
    if problems.is_empty() {
        check_versions(latest, resource, view, &mut problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(ViewError { problems }) }
}

fn check_items(latest: &Schema, view: &View, problems: &mut Vec<ViewProblem>) {
    for item in view.items() {
        let Some((_, node)) = latest.nodes().item(item.name.as_str()) else {
            problems.push(ViewProblem::UnknownItem { item: item.name.clone() });
            continue;
        };
        if matches!(item.treatment, Treatment::Keep | Treatment::Drop) {
            continue;
        }
        if let Err(source) = Treated::compile(latest.nodes(), node, &item.treatment) {
            let treatment = name(&item.treatment);
            problems.push(ViewProblem::Unfit { item: item.name.clone(), treatment, source });
        }
    }
}

fn check_pseudonyms(resource: &Resource, view: &View, problems: &mut Vec<ViewProblem>) {
    let scope = view.pseudonym();
    if !scope.scope.trim().is_empty() && scope.master_version > 0 {
        return;
    }
    if !keeps_key(view, &resource.key) {
        let reason = "the key item is not kept, so the record's key leaves as its pseudonym";
        problems.push(ViewProblem::NoPseudonymScope { reason });
    } else if view.items().iter().any(|item| item.treatment == Treatment::Pseudonym) {
        problems.push(ViewProblem::NoPseudonymScope { reason: "an item is pseudonymised" });
    }
}

fn check_versions(latest: &Schema, resource: &Resource, view: &View, problems: &mut Vec<ViewProblem>) {
    // Only whether it compiles is asked: no pseudonym is made with this key.
    let key = PseudonymKey::derive(&[0; 32], view.pseudonym());
    let mut compile = |version: u32, writer: &Schema| {
        if let Err(source) = Plan::compile(writer, latest, &resource.key, view, &key) {
            problems.push(match source {
                PlanError::Unfit { item, source } if writer.text() == latest.text() => {
                    ViewProblem::Unfit { treatment: name(view.treatment(item.as_str())), item, source }
                }
                source => ViewProblem::Earlier { version, why: chain(&source) },
            });
        }
    };
    let mut unreadable = Vec::new();
    compile(resource.versions.last().map_or(1, |version| version.version), latest);
    for version in &resource.versions {
        match Schema::parse(&version.text) {
            Ok(writer) if writer.text() != latest.text() => compile(version.version, &writer),
            Ok(_) => {}
            Err(source) => unreadable.push(ViewProblem::Version { version: version.version, source }),
        }
    }
    problems.extend(unreadable);
}

/// The whole chain of an error in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
