//! Resources and their schema versions.

use shuniu_model::identifier::Uscc;
use shuniu_model::{ItemName, Resource, ResourceName, Sharing, SystemId};
use shuniu_schema::{Checker, Schema, compatible};
use shuniu_store::Change;

use super::difference::Draft;
use super::file::{DirectoryFile, ResourceTable, SharingText};

/// Kafka's own advice for one topic is some thousands; a register needs no more than this.
const PARTITIONS_MAX: u32 = 256;

pub(super) fn read(file: &DirectoryFile, draft: &mut Draft<'_>) {
    for resource in &draft.context.facts.resources {
        let at = format!("resource {}", resource.name);
        let schemas: Vec<Schema> = resource
            .versions
            .iter()
            .filter_map(|version| draft.problems.note(&at, Schema::parse(&version.text)))
            .collect();
        draft.resources.insert(resource.name.clone(), (resource.clone(), schemas));
    }
    let mut named = std::collections::BTreeSet::new();
    for table in &file.tables.resource {
        let at = format!("resource {}", table.name);
        if !named.insert(&table.name) {
            draft.problems.push(&at, "it stands twice in the file");
            continue;
        }
        if let Some(resource) = parse(&at, table, draft) {
            place(&at, table, file, resource, draft);
        }
    }
    // What the file does not name is checked as well: a system that it moves may publish something.
    let mut strangers = Vec::new();
    for (resource, _) in draft.resources.values().filter(|(it, _)| !named.contains(&it.name.to_string())) {
        let system = draft.systems.get(&resource.publishing_system);
        if system.is_some_and(|system| system.organisation != resource.provider) {
            strangers.push((resource.name.clone(), resource.publishing_system.clone()));
        }
    }
    for (resource, system) in strangers {
        let what = format!("its publishing system `{system}` would no longer be its provider's");
        draft.problems.push(format!("resource {resource}"), what);
    }
}

fn parse(at: &str, table: &ResourceTable, draft: &mut Draft<'_>) -> Option<Resource> {
    let problems = &mut draft.problems;
    let name = problems.note(at, ResourceName::parse(&table.name));
    let provider = problems.note(at, Uscc::parse(&table.provider));
    let system = problems.note(at, SystemId::parse(&table.publishing_system));
    let key = problems.note(at, ItemName::parse(&table.key));
    let subjects: Vec<ItemName> =
        table.subjects.iter().filter_map(|item| problems.note(at, ItemName::parse(item))).collect();
    if !resource_code(&table.code) {
        problems.push(
            at,
            format!(
                "code `{}` is not <类 1-3><项 2 digits><目 3 digits><细目>/<sequence>, as 101001/1",
                table.code
            ),
        );
    }
    if !(1..=PARTITIONS_MAX).contains(&table.partitions) {
        problems.push(at, format!("partitions = {}: 1 to {PARTITIONS_MAX} are allowed", table.partitions));
    }
    let sharing = match table.sharing {
        SharingText::Unconditional => Sharing::Unconditional,
        SharingText::Conditional => Sharing::Conditional,
        SharingText::NotShared => Sharing::NotShared { basis: table.basis.clone() },
    };
    if table.sharing == SharingText::NotShared && table.basis.trim().is_empty() {
        problems.push(at, "not-shared needs its `basis`: the law, administrative regulation or Party or State Council document");
    }
    if table.schemas.is_empty() {
        problems.push(at, "`schemas` names no version of its schema");
    }
    let (name, provider, system, key) = (name?, provider?, system?, key?);
    if !draft.organisations.contains_key(&provider) {
        draft.problems.push(at, format!("provider {provider} is neither here nor in the directory"));
    }
    match draft.systems.get(&system) {
        None => draft
            .problems
            .push(at, format!("publishing system `{system}` is neither here nor in the directory")),
        Some(found) if found.organisation != provider => {
            let owner = found.organisation;
            draft.problems.push(at, format!("publishing system `{system}` is {owner}'s, not the provider's"));
        }
        Some(_) => {}
    }
    Some(Resource {
        name,
        title_zh: table.title_zh.clone(),
        code: table.code.clone(),
        provider,
        publishing_system: system,
        sharing,
        key,
        subjects,
        row_filters: table.row_filters,
        partitions: table.partitions,
        topic_id: None,
        versions: Vec::new(),
    })
}

/// Puts the resource beside what the directory has of it.
fn place(at: &str, table: &ResourceTable, file: &DirectoryFile, mut new: Resource, draft: &mut Draft<'_>) {
    let old = draft.resources.get(&new.name).cloned();
    let (known, mut schemas) = match &old {
        Some((resource, schemas)) => (Some(resource), schemas.clone()),
        None => (None, Vec::new()),
    };
    if let Some(known) = known {
        new.topic_id = known.topic_id;
        new.versions.clone_from(&known.versions);
        fixed(at, known, &new, draft);
    }
    let mut added = Vec::new();
    for (index, path) in table.schemas.iter().enumerate() {
        let Some(text) = file.schemas.get(path) else { continue };
        let Some(schema) = draft.problems.note(&format!("{at}, schema `{path}`"), Schema::parse(text)) else {
            continue;
        };
        // Of registered versions too: the key and the subjects are read from records of every version.
        draft
            .problems
            .note(&format!("{at}, schema `{path}`"), Checker::new(&schema, &new.key, &new.subjects));
        if let Some(registered) = new.versions.get(index) {
            if !schema.same_as(&registered.text) {
                let version = registered.version;
                draft.problems.push(at, format!(
                    "`{path}` is not what is registered as version {version}: a changed schema is a new version, in a file of its own"
                ));
            }
            continue;
        }
        let earlier: Vec<&Schema> = schemas.iter().collect();
        draft.problems.note(&format!("{at}, schema `{path}`"), compatible(&schema, &earlier));
        schemas.push(schema);
        added.push((u32::try_from(index + 1).unwrap_or(u32::MAX), text.clone()));
    }
    if table.schemas.len() < new.versions.len() {
        draft.problems.push(at, format!(
            "`schemas` names {} versions, {} are registered: versions stay, for the records that carry them",
            table.schemas.len(),
            new.versions.len()
        ));
    }
    match known {
        None => {
            let partitions = match new.partitions {
                1 => "1 partition".to_owned(),
                many => format!("{many} partitions"),
            };
            let detail = format!("{} of {}, {partitions}", new.title_zh, new.provider);
            draft.changes.note('+', at.to_owned(), detail, Change::Resource(new.clone()));
        }
        Some(known) if said(known) != said(&new) => {
            let detail = format!("{} becomes {}", said(known), said(&new));
            draft.changes.note('~', at.to_owned(), detail, Change::Resource(new.clone()));
        }
        Some(_) => {}
    }
    for (version, text) in added {
        let change = Change::SchemaVersion { resource: new.name.clone(), version, text };
        draft.changes.note('+', format!("schema version {version} of {}", new.name), String::new(), change);
    }
    draft.resources.insert(new.name.clone(), (new, schemas));
}

/// What cannot change once records may be there.
fn fixed(at: &str, old: &Resource, new: &Resource, draft: &mut Draft<'_>) {
    if old.key != new.key {
        draft
            .problems
            .push(at, format!("its key is `{}` and stays so: another key is another resource", old.key));
    }
    if !old.row_filters && new.row_filters {
        draft.problems.push(
            at,
            "row filters need `before` on every record, and records without it may be there: \
                                 make a new resource",
        );
    }
    if old.partitions != new.partitions {
        draft.problems.push(
            at,
            format!(
                "partitions = {} stays so: with another number, keys would move between partitions",
                old.partitions
            ),
        );
    }
}

/// What a resource says, apart from its versions and topic.
fn said(resource: &Resource) -> String {
    let sharing = match &resource.sharing {
        Sharing::Unconditional => "unconditional".to_owned(),
        Sharing::Conditional => "conditional".to_owned(),
        Sharing::NotShared { basis } => format!("not-shared ({basis})"),
    };
    let subjects: Vec<&str> = resource.subjects.iter().map(ItemName::as_str).collect();
    format!(
        "{} {} of {}, published by {}, {sharing}, subjects [{}], row filters {}",
        resource.title_zh,
        resource.code,
        resource.provider,
        resource.publishing_system,
        subjects.join(", "),
        if resource.row_filters { "on" } else { "off" }
    )
}

/// `<类 1-3><项 2 digits><目 3 digits><细目 digits>/<sequence digits>`.
fn resource_code(code: &str) -> bool {
    let Some((category, sequence)) = code.split_once('/') else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    category.len() >= 6
        && category.len() <= 20
        && category.starts_with(['1', '2', '3'])
        && digits(category)
        && !sequence.is_empty()
        && sequence.len() <= 10
        && digits(sequence)
}
