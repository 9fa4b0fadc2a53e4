//! An entry as one line.

use shuniu_archive::Found;
use shuniu_ledger::{Action, Outcome};

use crate::figure::figure;

/// Index, time, what, who, on what, how much, why. Texts stay within the line, whoever wrote them.
pub(in crate::command) fn of(found: &Found) -> String {
    let draft = &found.entry.draft;
    let mut parts = vec![
        found.index.to_string(),
        found.entry.time.to_string(),
        draft.action.as_str().to_owned(),
        who(found),
    ];
    let mut part = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            parts.push(format!("{name}{value}"));
        }
    };
    part("", draft.resource.as_ref().map(ToString::to_string));
    part("grant=", draft.grant.as_ref().map(ToString::to_string));
    part("target=", draft.target.as_ref().map(|target| format!("\"{target}\"")));
    // A refusal counts equal requests, not records.
    let counts = if draft.action == Action::Refused { "times=" } else { "records=" };
    part(counts, draft.count.map(figure));
    part("bytes=", draft.bytes.map(figure));
    part("items=", (!draft.items.is_empty()).then(|| draft.items.len().to_string()));
    part("purpose=", draft.purpose.as_ref().map(|purpose| format!("\"{purpose}\"")));
    if let Some(reason) = &draft.reason {
        let code = if draft.outcome == Outcome::Refused { &reason.code } else { "note" };
        part("", Some(format!("{code}=\"{}\"", reason.detail)));
    }
    shuniu_model::shown(&parts.join(" "))
}

fn who(found: &Found) -> String {
    let actor = &found.entry.draft.actor;
    let name = actor.system.as_ref().map(ToString::to_string).or_else(|| actor.person.clone());
    let role = format!("{:?}", actor.role).to_lowercase();
    name.map_or(role, |name| format!("by {name}"))
}
