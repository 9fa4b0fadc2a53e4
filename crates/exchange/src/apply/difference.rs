//! From what the file says and what the directory holds to what changes.

use std::collections::BTreeMap;

use shuniu_model::identifier::{DivisionCode, Uscc};
use shuniu_model::{Organisation, Resource, ResourceName, System, SystemId};
use shuniu_schema::Schema;
use shuniu_store::Change;

use super::{Changes, Context, DirectoryFile, Problems, grants, resources};

/// The directory as it is to be, while the file is read against it.
pub(super) struct Draft<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) organisations: BTreeMap<Uscc, Organisation>,
    pub(super) systems: BTreeMap<SystemId, System>,
    /// Each with its versions parsed, new ones included; a new version has no schema id yet.
    pub(super) resources: BTreeMap<ResourceName, (Resource, Vec<Schema>)>,
    pub(super) changes: Changes,
    pub(super) problems: Problems,
}

pub(super) fn changes(file: &DirectoryFile, context: &Context<'_>) -> Result<Changes, Problems> {
    let mut draft = Draft {
        context,
        organisations: context.facts.organisations.iter().map(|it| (it.uscc, it.clone())).collect(),
        systems: context.facts.systems.iter().map(|it| (it.id.clone(), it.clone())).collect(),
        resources: BTreeMap::new(),
        changes: Changes { facts: context.facts.clone(), ..Changes::default() },
        problems: Problems::default(),
    };
    organisations(file, &mut draft);
    systems(file, &mut draft);
    resources::read(file, &mut draft);
    grants::read(file, &mut draft);
    if draft.problems.is_empty() { Ok(draft.changes) } else { Err(draft.problems) }
}

fn organisations(file: &DirectoryFile, draft: &mut Draft<'_>) {
    let mut named = std::collections::BTreeSet::new();
    for table in &file.tables.organisation {
        let at = format!("organisation {}", table.uscc);
        if !named.insert(&table.uscc) {
            draft.problems.push(&at, "it stands twice in the file");
        }
        let uscc = draft.problems.note(&at, Uscc::parse(&table.uscc));
        let division = draft.problems.note(&at, DivisionCode::parse(&table.division));
        let (Some(uscc), Some(division)) = (uscc, division) else { continue };
        let new = Organisation { uscc, name: table.name.clone(), division };
        match draft.organisations.insert(uscc, new.clone()) {
            None => draft.changes.note('+', at, table.name.clone(), Change::Organisation(new)),
            Some(old) if old != new => {
                let detail =
                    format!("{} ({}) becomes {} ({})", old.name, old.division, new.name, new.division);
                draft.changes.note('~', at, detail, Change::Organisation(new));
            }
            Some(_) => {}
        }
    }
}

fn systems(file: &DirectoryFile, draft: &mut Draft<'_>) {
    let mut named = std::collections::BTreeSet::new();
    for table in &file.tables.system {
        let at = format!("system {}", table.id);
        if !named.insert(&table.id) {
            draft.problems.push(&at, "it stands twice in the file");
        }
        let id = draft.problems.note(&at, SystemId::parse(&table.id));
        let organisation = draft.problems.note(&at, Uscc::parse(&table.organisation));
        let (Some(id), Some(organisation)) = (id, organisation) else { continue };
        if !draft.organisations.contains_key(&organisation) {
            draft
                .problems
                .push(&at, format!("organisation {organisation} is neither here nor in the directory"));
            continue;
        }
        let new = System { id: id.clone(), organisation, name: table.name.clone() };
        match draft.systems.insert(id, new.clone()) {
            None => draft.changes.note('+', at, table.name.clone(), Change::System(new)),
            Some(old) if old != new => {
                let detail = format!(
                    "{} of {} becomes {} of {}",
                    old.name, old.organisation, new.name, new.organisation
                );
                draft.changes.note('~', at, detail, Change::System(new));
            }
            Some(_) => {}
        }
    }
}
