//! Grants and what their views leave.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use shuniu_model::{
    Codec, Generalisation, Grant, GrantId, GrantState, ItemName, Limits, MaskRule, Mode, PseudonymScope,
    ResourceName, SystemId, Timestamp, Treatment, View, ViewItem,
};
use shuniu_schema::{Plan, PseudonymKey, check_view, keeps_key};
use shuniu_store::Change;

use super::difference::Draft;
use super::file::{
    CodecText, DirectoryFile, GeneraliseName, GeneraliseText, GrantTable, StateText, TreatmentText,
};
use super::problem::chain;
use super::{DraftOf, Problems};

pub(super) fn read(file: &DirectoryFile, draft: &mut Draft<'_>) {
    let mut grants: BTreeMap<GrantId, Grant> =
        draft.context.facts.grants.iter().map(|grant| (grant.id.clone(), grant.clone())).collect();
    let mut named = std::collections::BTreeSet::new();
    let mut fresh = Vec::new();
    for table in &file.tables.grant {
        let at = format!("grant {}", table.id);
        if !named.insert(&table.id) {
            draft.problems.push(&at, "it stands twice in the file");
            continue;
        }
        let Some(new) = parse(&at, table, &grants, draft) else { continue };
        match grants.insert(new.id.clone(), new.clone()) {
            None => fresh.push(new),
            Some(old) => change(&at, &old, &new, draft),
        }
    }
    // Revocations stand before: a new grant may take the place of one that the same file revokes.
    for grant in &fresh {
        let at = format!("grant {}", grant.id);
        alone(&at, grant, &grants, draft);
        not_its_own(&at, grant, draft);
        draft.changes.show(&format!("+ {at}: {}", said(grant)));
        draft.changes.changes.push(Change::Grant(grant.clone()));
        draft.changes.drafts.push(DraftOf::Granted(Box::new(grant.clone())));
    }
    let beside: Vec<&Grant> = grants.values().filter(|grant| moved(&grant.system, draft)).collect();
    for grant in beside {
        alone(&format!("grant {}", grant.id), grant, &grants, draft);
    }
    views(&grants, draft);
}

/// Whether the file gives a system of the directory to another organisation: it comes beside that one's grants.
fn moved(system: &SystemId, draft: &Draft<'_>) -> bool {
    let was = draft.context.facts.systems.iter().find(|known| known.id == *system);
    was.is_some_and(|was| draft.systems.get(system).is_some_and(|is| is.organisation != was.organisation))
}

/// A publishing system reads its resource back whole, without a grant, and would never be held to one.
fn not_its_own(at: &str, new: &Grant, draft: &mut Draft<'_>) {
    let publishing = draft.resources.get(&new.resource).map(|(resource, _)| &resource.publishing_system);
    if new.state != GrantState::Revoked && publishing == Some(&new.system) {
        draft.problems.push(
            at,
            format!(
                "system `{}` publishes `{}`, and reads it back without a grant",
                new.system, new.resource
            ),
        );
    }
}

/// Every live grant's view fits its resource as it is to be, and every version of it has its projected schema. A grant
/// that has ended binds no later version; it is looked at again when it is renewed.
fn views(grants: &BTreeMap<GrantId, Grant>, draft: &mut Draft<'_>) {
    let now = draft.context.now;
    let live = |grant: &&Grant| grant.state != GrantState::Revoked && grant.ends_at > now;
    for grant in grants.values().filter(live) {
        let at = format!("grant {}", grant.id);
        let Some((resource, schemas)) = draft.resources.get(&grant.resource).cloned() else { continue };
        let Some(latest) = schemas.last() else { continue };
        if let Err(error) = check_view(latest, &resource, &grant.view) {
            draft.problems.push(&at, chain(&error));
            continue;
        }
        if grant.view.is_whole() {
            continue;
        }
        let scope = grant.view.pseudonym();
        let master = match draft.context.keys.pseudonym_master(scope.master_version) {
            Ok(master) => master,
            Err(error) => {
                draft.problems.push(&at, error);
                continue;
            }
        };
        let key = PseudonymKey::derive(&master, scope);
        for (version, schema) in (1_u32..).zip(&schemas) {
            let known =
                resource.versions.iter().find(|known| known.version == version).is_some_and(|known| {
                    let facts = draft.context.facts;
                    facts.projected.iter().any(|it| it.writer == known.id && it.view == grant.view.digest())
                });
            if known {
                continue;
            }
            match Plan::compile(schema, latest, &resource.key, &grant.view, &key) {
                Ok(plan) => draft.changes.changes.push(Change::Projected {
                    resource: resource.name.clone(),
                    version,
                    view: grant.view.digest(),
                    text: plan.projected_schema().to_owned(),
                }),
                Err(error) => draft.problems.push(&at, chain(&error)),
            }
        }
    }
}

/// One live grant for a system on a resource; one form of the key for an organisation.
fn alone(at: &str, new: &Grant, grants: &BTreeMap<GrantId, Grant>, draft: &mut Draft<'_>) {
    if new.state == GrantState::Revoked {
        return;
    }
    let organisation = |system: &SystemId| draft.systems.get(system).map(|system| system.organisation);
    let key = draft.resources.get(&new.resource).map(|(resource, _)| resource.key.clone());
    let mut problems = Vec::new();
    for other in grants.values() {
        if other.id == new.id || other.resource != new.resource || other.state == GrantState::Revoked {
            continue;
        }
        if other.system == new.system {
            problems.push(format!(
                "system `{}` holds grant `{}` on `{}` already: revoke that, or use another system for another purpose",
                new.system, other.id, new.resource
            ));
        } else if organisation(&other.system) == organisation(&new.system)
            && let Some(key) = &key
            && keeps_key(&other.view, key) != keeps_key(&new.view, key)
        {
            problems.push(format!(
                "its organisation holds grant `{}` with the key in another form: side by side, pseudonyms would protect nothing",
                other.id
            ));
        }
    }
    for problem in problems {
        draft.problems.push(at, problem);
    }
}

fn change(at: &str, old: &Grant, new: &Grant, draft: &mut Draft<'_>) {
    if old.view.digest() != new.view.digest() || old.system != new.system || old.resource != new.resource {
        draft
            .problems
            .push(at, "its view, system or resource is another: revoke it and give the new one a new id");
        return;
    }
    if old == new {
        return;
    }
    if old.state == GrantState::Revoked {
        draft.problems.push(at, "it is revoked, for good: give a new grant a new id");
        return;
    }
    let target = format!("grant {}", new.id);
    if new.state == GrantState::Revoked {
        draft.changes.show(&format!("- {target}: revoked"));
        draft.changes.changes.push(Change::GrantState { id: new.id.clone(), state: GrantState::Revoked });
        draft.changes.drafts.push(DraftOf::Revoked { id: new.id.clone(), resource: new.resource.clone() });
        return;
    }
    let detail = format!("{} becomes {}", terms(old), terms(new));
    draft.changes.note('~', target, detail, Change::GrantTerms(new.clone()));
}

fn parse(
    at: &str,
    table: &GrantTable,
    grants: &BTreeMap<GrantId, Grant>,
    draft: &mut Draft<'_>,
) -> Option<Grant> {
    let context = draft.context;
    let problems = &mut draft.problems;
    let id = problems.note(at, GrantId::parse(&table.id));
    let system = problems.note(at, SystemId::parse(&table.system));
    let resource = problems.note(at, ResourceName::parse(&table.resource));
    let modes: Vec<Mode> = table.modes.iter().filter_map(|mode| problems.note(at, mode.parse())).collect();
    if table.modes.is_empty() {
        problems.push(at, "`modes` names none");
    }
    if table.purpose.trim().is_empty() || table.basis.trim().is_empty() {
        problems.push(at, "`purpose` and `basis` say what the data are for and by which law");
    }
    let ends_at = moment(at, "ends_at", &table.ends_at.text(), context.time_zone, true, problems);
    let starts_at = table
        .starts_at
        .as_ref()
        .map(|moment_text| moment(at, "starts_at", &moment_text.text(), context.time_zone, false, problems));
    let items = items(at, table, problems);
    let (id, system, resource, ends_at, items) = (id?, system?, resource?, ends_at?, items?);
    if !draft.systems.contains_key(&system) {
        draft.problems.push(at, format!("system `{system}` is neither here nor in the directory"));
    }
    if !draft.resources.contains_key(&resource) {
        draft.problems.push(at, format!("resource `{resource}` is neither here nor in the directory"));
    }
    let starts_at = match starts_at {
        Some(starts_at) => starts_at?,
        None => grants.get(&id).map_or(context.now, |known| known.starts_at),
    };
    if ends_at <= starts_at {
        draft.problems.push(at, "it ends before it starts");
    }
    let view = if table.whole {
        View::whole()
    } else {
        let scope = table.pseudonym_scope.clone().unwrap_or_else(|| format!("{system}/{resource}"));
        let scope = PseudonymScope { scope, master_version: table.master_version.unwrap_or(1) };
        View::new(items, table.filter.clone(), scope)
    };
    let state = match table.state {
        StateText::Active => GrantState::Active,
        StateText::Suspended => GrantState::Suspended,
        StateText::Revoked => GrantState::Revoked,
    };
    let limits = Limits {
        records_per_second: table.limits.records_per_second,
        bytes_per_second: table.limits.bytes_per_second,
        queries_per_day: table.limits.queries_per_day,
    };
    if [limits.records_per_second, limits.bytes_per_second, limits.queries_per_day].contains(&Some(0)) {
        draft.problems.push(at, "a limit of 0 lets nothing through: suspend the grant instead");
    }
    if limits.queries_per_day.is_some() {
        let why = "`queries_per_day` would hold nothing back: no door answers queries yet. Leave it out";
        draft.problems.push(at, why);
    }
    let codec = match table.codec {
        CodecText::None => Codec::None,
        CodecText::Gzip => Codec::Gzip,
        CodecText::Snappy => Codec::Snappy,
        CodecText::Lz4 => Codec::Lz4,
        CodecText::Zstd => Codec::Zstd,
    };
    let (purpose, basis) = (table.purpose.clone(), table.basis.clone());
    Some(Grant {
        id,
        system,
        resource,
        view,
        modes,
        purpose,
        basis,
        starts_at,
        ends_at,
        state,
        limits,
        codec,
    })
}

fn items(at: &str, table: &GrantTable, problems: &mut Problems) -> Option<Vec<ViewItem>> {
    if table.whole {
        let more = !table.items.is_empty() || table.filter.is_some() || table.pseudonym_scope.is_some();
        if more {
            problems.push(
                at,
                "`whole = true` is every item and every row: leave out items, filter and pseudonym_scope",
            );
        }
        return Some(Vec::new());
    }
    let mut items = Vec::with_capacity(table.items.len());
    for (name, treatment) in &table.items {
        let name = problems.note(at, ItemName::parse(name))?;
        let treatment = match treatment {
            TreatmentText::Keep => Treatment::Keep,
            TreatmentText::Drop => Treatment::Drop,
            TreatmentText::Pseudonym => Treatment::Pseudonym,
            TreatmentText::Mask { first, last } => Treatment::Mask(MaskRule { first: *first, last: *last }),
            TreatmentText::Generalise(GeneraliseText::Named(GeneraliseName::Month)) => {
                Treatment::Generalise(Generalisation::Month)
            }
            TreatmentText::Generalise(GeneraliseText::Named(GeneraliseName::Year)) => {
                Treatment::Generalise(Generalisation::Year)
            }
            TreatmentText::Generalise(GeneraliseText::Prefix { prefix }) => {
                Treatment::Generalise(Generalisation::Prefix(*prefix))
            }
            TreatmentText::Generalise(GeneraliseText::Step { step }) => {
                Treatment::Generalise(Generalisation::Step(*step))
            }
            TreatmentText::Constant(value) => {
                Treatment::Constant(problems.note(at, serde_json::to_string(value))?)
            }
        };
        items.push(ViewItem { name, treatment });
    }
    Some(items)
}

/// An RFC 3339 instant, or a bare date: the end of that day where a term ends, its start where one starts.
fn moment(
    at: &str,
    key: &str,
    text: &str,
    time_zone: &str,
    end: bool,
    problems: &mut Problems,
) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_micros(instant.as_microsecond()));
    }
    let found = || -> Result<jiff::Timestamp, jiff::Error> {
        // A time of day without its offset is no instant, and must not be read as the day alone.
        let date = Date::strptime("%Y-%m-%d", text)?;
        let date = if end { date.tomorrow()? } else { date };
        TimeZone::get(time_zone)?.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()))
    };
    match found() {
        Ok(instant) => Some(Timestamp::from_micros(instant.as_microsecond())),
        Err(error) => {
            problems.push(at, format!("{key} = `{text}` is neither a date nor an RFC 3339 instant: {error}"));
            None
        }
    }
}

fn said(grant: &Grant) -> String {
    let view = if grant.view.is_whole() {
        "everything".to_owned()
    } else {
        let items: Vec<String> = grant.view.items().iter().map(item_said).collect();
        let rows = grant.view.filter().map_or_else(String::new, |filter| format!(" where {filter}"));
        format!("{}{rows}", items.join(", "))
    };
    format!("{} may {} {}: {view}; {}", grant.system, modes(grant), grant.resource, terms(grant))
}

/// An item as a reviewer must see it: what leaves of it, where it does not leave as it is.
fn item_said(item: &ViewItem) -> String {
    let name = &item.name;
    match &item.treatment {
        Treatment::Keep => name.to_string(),
        Treatment::Drop => format!("{name} (dropped)"),
        Treatment::Mask(MaskRule { first, last }) => {
            format!("{name} (masked but for {first} first, {last} last)")
        }
        Treatment::Pseudonym => format!("{name} (pseudonym)"),
        Treatment::Generalise(Generalisation::Prefix(length)) => {
            format!("{name} (first {length} characters)")
        }
        Treatment::Generalise(Generalisation::Month) => format!("{name} (month)"),
        Treatment::Generalise(Generalisation::Year) => format!("{name} (year)"),
        Treatment::Generalise(Generalisation::Step(step)) => format!("{name} (in steps of {step})"),
        Treatment::Constant(json) => format!("{name} (always {json})"),
    }
}

fn modes(grant: &Grant) -> String {
    grant.modes.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(", ")
}

fn terms(grant: &Grant) -> String {
    let state = match grant.state {
        GrantState::Active => "active",
        GrantState::Suspended => "suspended",
        GrantState::Revoked => "revoked",
    };
    let limit =
        |name: &str, value: Option<u64>| value.map_or_else(String::new, |value| format!(", {name} {value}"));
    let codec = match grant.codec {
        Codec::Lz4 => String::new(),
        codec => format!(", codec {}", codec.as_str()),
    };
    format!(
        "{state} from {} until {}, {}, for {} ({}){}{}{}{codec}",
        grant.starts_at,
        grant.ends_at,
        modes(grant),
        grant.purpose,
        grant.basis,
        limit("records/s", grant.limits.records_per_second),
        limit("bytes/s", grant.limits.bytes_per_second),
        limit("queries/day", grant.limits.queries_per_day),
    )
}
