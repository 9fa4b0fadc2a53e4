//! Views as text in the database.

use serde::{Deserialize, Serialize};
use shuniu_model::{Generalisation, ItemName, MaskRule, Treatment, View, ViewItem};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum TreatmentText {
    Keep,
    Drop,
    Mask { first: u32, last: u32 },
    Pseudonym,
    Prefix(u32),
    Month,
    Year,
    Step(i64),
    Constant(String),
}

/// The items of a view, as JSON.
pub(crate) fn items_text(view: &View) -> String {
    let items: Vec<(&str, TreatmentText)> =
        view.items().iter().map(|item| (item.name.as_str(), to_text(&item.treatment))).collect();
    // Pairs of strings and plain enums always serialise.
    serde_json::to_string(&items).unwrap_or_default()
}

/// The items back from JSON.
pub(crate) fn items(text: &str) -> Result<Vec<ViewItem>, String> {
    let items: Vec<(ItemName, TreatmentText)> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(items
        .into_iter()
        .map(|(name, treatment)| ViewItem { name, treatment: from_text(treatment) })
        .collect())
}

fn to_text(treatment: &Treatment) -> TreatmentText {
    match treatment {
        Treatment::Keep => TreatmentText::Keep,
        Treatment::Drop => TreatmentText::Drop,
        Treatment::Mask(MaskRule { first, last }) => TreatmentText::Mask { first: *first, last: *last },
        Treatment::Pseudonym => TreatmentText::Pseudonym,
        Treatment::Generalise(Generalisation::Prefix(length)) => TreatmentText::Prefix(*length),
        Treatment::Generalise(Generalisation::Month) => TreatmentText::Month,
        Treatment::Generalise(Generalisation::Year) => TreatmentText::Year,
        Treatment::Generalise(Generalisation::Step(step)) => TreatmentText::Step(*step),
        Treatment::Constant(json) => TreatmentText::Constant(json.clone()),
    }
}

fn from_text(text: TreatmentText) -> Treatment {
    match text {
        TreatmentText::Keep => Treatment::Keep,
        TreatmentText::Drop => Treatment::Drop,
        TreatmentText::Mask { first, last } => Treatment::Mask(MaskRule { first, last }),
        TreatmentText::Pseudonym => Treatment::Pseudonym,
        TreatmentText::Prefix(length) => Treatment::Generalise(Generalisation::Prefix(length)),
        TreatmentText::Month => Treatment::Generalise(Generalisation::Month),
        TreatmentText::Year => Treatment::Generalise(Generalisation::Year),
        TreatmentText::Step(step) => Treatment::Generalise(Generalisation::Step(step)),
        TreatmentText::Constant(json) => Treatment::Constant(json),
    }
}
