//! The view: which items leave, each with its treatment, which rows, and in which pseudonym scope.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ItemName;

/// What happens to an item on its way out. null stays null.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// The value as it is.
    Keep,
    /// The item does not leave; the projected schema does not name it.
    Drop,
    /// Characters replaced by `*`. Strings only.
    Mask(MaskRule),
    /// Lower-case hex of 16 bytes of HMAC-SHA256 over the item's text, under the view's scope. The type becomes string.
    Pseudonym,
    /// A coarser value of the same type.
    Generalise(Generalisation),
    /// A fixed value, written as JSON of the item's Avro type.
    Constant(String),
}

/// Which characters (Unicode scalar values) of a masked string stay; all between are `*`, one for each.
/// A string no longer than `first + last` is masked whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaskRule {
    /// Characters kept at the start.
    pub first: u32,
    /// Characters kept at the end.
    pub last: u32,
}

/// How a value is made coarser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generalisation {
    /// A string cut to its first characters (Unicode scalar values).
    Prefix(u32),
    /// A date (or instant) set to the first day of its month.
    Month,
    /// A date (or instant) set to the first day of its year.
    Year,
    /// A number set to the lower bound of its step (towards minus infinity). The step is above zero and, for a
    /// decimal, in units of the decimal's whole number.
    Step(i64),
}

/// The scope within which equal values have equal pseudonyms, and the master key's version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PseudonymScope {
    /// The scope's name; by default `<system>/<resource>`.
    pub scope: String,
    /// The version of the master key that the scope's key is derived from.
    pub master_version: u32,
}

/// One item of a view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewItem {
    /// The item.
    pub name: ItemName,
    /// What happens to it.
    pub treatment: Treatment,
}

/// Which items, each with its treatment, the row filter and the pseudonym scope. Immutable, named by its digest.
///
/// An item that is not listed is dropped. `items` is sorted by name and free of duplicates, so that equal views have
/// equal digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    items: Vec<ViewItem>,
    filter: Option<String>,
    pseudonym: PseudonymScope,
    whole: bool,
    digest: ViewDigest,
}

impl View {
    /// A view of the listed items. A second listing of an item replaces the first. `filter` is the row filter's text, in the closed subset of
    /// CEL; whether it and the treatments fit the resource is for the schema crate to say when the grant is written.
    #[must_use]
    pub fn new(items: Vec<ViewItem>, filter: Option<String>, pseudonym: PseudonymScope) -> Self {
        let by_name: std::collections::BTreeMap<ItemName, Treatment> =
            items.into_iter().map(|item| (item.name, item.treatment)).collect();
        let items = by_name
            .into_iter()
            .filter(|(_, treatment)| *treatment != Treatment::Drop)
            .map(|(name, treatment)| ViewItem { name, treatment })
            .collect();
        Self::build(items, filter, pseudonym, false)
    }

    /// The view that keeps every item of every schema version and every row.
    #[must_use]
    pub fn whole() -> Self {
        Self::build(Vec::new(), None, PseudonymScope { scope: String::new(), master_version: 0 }, true)
    }

    /// Every item of every version as it is, and every row: the plan is the identity and the projected schema the
    /// writer's own.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The listed items, sorted by name, none of them dropped; empty for the whole view.
    #[must_use]
    pub fn items(&self) -> &[ViewItem] {
        &self.items
    }

    /// The treatment of an item: `Keep` for all of the whole view, `Drop` for what is not listed.
    #[must_use]
    pub fn treatment(&self, name: &str) -> &Treatment {
        if self.whole {
            return &Treatment::Keep;
        }
        match self.items.iter().find(|item| item.name.as_str() == name) {
            Some(item) => &item.treatment,
            None => &Treatment::Drop,
        }
    }

    /// The row filter's text; `None` for every row.
    #[must_use]
    pub fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    /// The pseudonym scope.
    #[must_use]
    pub fn pseudonym(&self) -> &PseudonymScope {
        &self.pseudonym
    }

    /// The view's name: SHA-256 over its canonical text.
    #[must_use]
    pub fn digest(&self) -> ViewDigest {
        self.digest
    }

    fn build(items: Vec<ViewItem>, filter: Option<String>, pseudonym: PseudonymScope, whole: bool) -> Self {
        let mut view = Self { items, filter, pseudonym, whole, digest: ViewDigest([0; 32]) };
        view.digest = ViewDigest(Sha256::digest(view.canonical().as_bytes()).into());
        view
    }

    /// One line for each part, every free text length-prefixed: no two different views share a text.
    fn canonical(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::from("shuniu view 1\n");
        let free = |value: &str| format!("{}:{value}", value.len());
        let mut line = |value: String| {
            text.push_str(&value);
            text.push('\n');
        };
        line(format!("whole {}", self.whole));
        for item in &self.items {
            let treatment = match &item.treatment {
                Treatment::Keep => "keep".to_owned(),
                Treatment::Drop => "drop".to_owned(),
                Treatment::Mask(rule) => format!("mask {} {}", rule.first, rule.last),
                Treatment::Pseudonym => "pseudonym".to_owned(),
                Treatment::Generalise(Generalisation::Prefix(length)) => format!("prefix {length}"),
                Treatment::Generalise(Generalisation::Month) => "month".to_owned(),
                Treatment::Generalise(Generalisation::Year) => "year".to_owned(),
                Treatment::Generalise(Generalisation::Step(step)) => format!("step {step}"),
                Treatment::Constant(json) => format!("constant {}", free(json)),
            };
            line(format!("item {} {treatment}", item.name));
        }
        if let Some(filter) = &self.filter {
            line(format!("filter {}", free(filter)));
        }
        let mut scope = String::new();
        // Writing to a String cannot fail.
        write!(scope, "pseudonym {} {}", self.pseudonym.master_version, free(&self.pseudonym.scope)).ok();
        line(scope);
        text
    }
}

/// The SHA-256 of a view's canonical text; shown as lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewDigest(pub [u8; 32]);

impl fmt::Display for ViewDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(items: &[(&str, Treatment)], filter: Option<&str>, version: u32) -> View {
        let items = items
            .iter()
            .map(|(name, treatment)| ViewItem {
                name: ItemName::parse(name).unwrap(),
                treatment: treatment.clone(),
            })
            .collect();
        let scope = PseudonymScope { scope: "bank/population".into(), master_version: version };
        View::new(items, filter.map(str::to_owned), scope)
    }

    #[test]
    fn equal_views_have_equal_digests_whatever_the_order() {
        let mask = Treatment::Mask(MaskRule { first: 1, last: 0 });
        let one = view(&[("id_no", Treatment::Keep), ("name", mask.clone())], None, 1);
        let two = view(&[("name", mask), ("id_no", Treatment::Keep), ("sex", Treatment::Drop)], None, 1);
        assert_eq!(one, two);
        assert_eq!(one.digest(), two.digest());
    }

    #[test]
    fn any_difference_changes_the_digest() {
        let base = view(&[("id_no", Treatment::Keep)], None, 1);
        for other in [
            view(&[("id_no", Treatment::Pseudonym)], None, 1),
            view(&[("id_no", Treatment::Keep)], Some("sex == '1'"), 1),
            view(&[("id_no", Treatment::Keep)], None, 2),
            View::whole(),
        ] {
            assert_ne!(base.digest(), other.digest());
        }
    }
}
