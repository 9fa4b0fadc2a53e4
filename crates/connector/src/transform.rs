//! Value transforms: declared for an item, chained, pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::config::{Lookup, Otherwise, Texts, Transform};
use crate::{amount, date};

/// Applies the chain. `Ok(None)` is null, which no later transform sees; the error is the rule that the text breaks.
pub(crate) fn apply<'a>(chain: &[Transform], text: &'a str) -> Result<Option<Cow<'a, str>>, String> {
    let mut current = Cow::Borrowed(text);
    for transform in chain {
        match step(transform, &current)? {
            Some(Cow::Owned(next)) => current = Cow::Owned(next),
            Some(Cow::Borrowed(_)) => {}
            None => return Ok(None),
        }
    }
    Ok(Some(current))
}

/// One transform; `Borrowed` means that the text stays as it is.
fn step<'a>(transform: &Transform, text: &'a str) -> Result<Option<Cow<'a, str>>, String> {
    let changed = match transform {
        // Rust's white space includes the ideographic blank U+3000.
        Transform::Trim => text.trim().to_owned(),
        Transform::Upper => text.to_uppercase(),
        Transform::Lower => text.to_lowercase(),
        Transform::HalfWidth => half_width(text),
        Transform::FullWidth => full_width(text),
        Transform::Null(Texts(nulls)) if nulls.iter().any(|null| null == text) => return Ok(None),
        Transform::Null(_) => return Ok(Some(Cow::Borrowed(text))),
        Transform::Date(Texts(forms)) => {
            date::iso(forms, text).ok_or_else(|| format!("a date as {}", forms.join(" or ")))?
        }
        Transform::Amount(part) => match amount::part(text, *part) {
            Some(Some(found)) => found,
            Some(None) => return Ok(None),
            None => return Err("an amount such as 5,147.1628(万) or 700(万美元)".into()),
        },
        Transform::Lookup(lookup) => return look_up(lookup, text),
        Transform::Prefix(length) => text.chars().take(*length).collect(),
        Transform::Slice((from, to)) => text.chars().skip(*from).take(to.saturating_sub(*from)).collect(),
        Transform::Hash(_) => hex(&Sha256::digest(text.as_bytes())),
    };
    Ok(Some(Cow::Owned(changed)))
}

fn look_up<'a>(lookup: &Lookup, text: &'a str) -> Result<Option<Cow<'a, str>>, String> {
    match (lookup.values.get(text), lookup.otherwise) {
        (Some(value), _) => Ok(Some(Cow::Owned(value.clone()))),
        (None, Otherwise::Keep) => Ok(Some(Cow::Borrowed(text))),
        (None, Otherwise::Null) => Ok(None),
        (None, Otherwise::Reject) => Err("one of the lookup's values".into()),
    }
}

/// Full-width forms of ASCII and the ideographic blank as ASCII.
pub(crate) fn half_width(text: &str) -> String {
    text.chars()
        .map(|c| match u32::from(c) {
            0x3000 => ' ',
            code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
            _ => c,
        })
        .collect()
}

fn full_width(text: &str) -> String {
    text.chars()
        .map(|c| match u32::from(c) {
            0x20 => '\u{3000}',
            code @ 0x21..=0x7e => char::from_u32(code + 0xfee0).unwrap_or(c),
            _ => c,
        })
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(text: &str) -> Vec<Transform> {
        #[derive(serde::Deserialize)]
        struct Table {
            t: Vec<Transform>,
        }
        toml::from_str::<Table>(&format!("t = {text}")).unwrap().t
    }

    fn applied(transforms: &str, text: &str) -> Result<Option<String>, String> {
        apply(&chain(transforms), text).map(|found| found.map(Cow::into_owned))
    }

    #[test]
    fn transforms_apply_in_the_declared_order() {
        assert_eq!(applied(r#"["trim", "lower"]"#, "　 GSA.GOV "), Ok(Some("gsa.gov".into())));
        assert_eq!(applied(r#"["half-width", {prefix = 3}]"#, "（ＡＢ）"), Ok(Some("(AB".into())));
        assert_eq!(applied(r#"[{slice = [1, 3]}]"#, "重庆市区"), Ok(Some("庆市".into())));
        assert_eq!(applied(r#"["full-width"]"#, "A (1)"), Ok(Some("Ａ　（１）".into())));
        assert_eq!(
            applied(r#"[{hash = "sha-256"}]"#, "abc"),
            Ok(Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()))
        );
    }

    #[test]
    fn a_declared_text_is_null_and_ends_the_chain() {
        assert_eq!(applied(r#"["trim", {null = ["N/A", "-"]}, {date = "era"}]"#, " N/A "), Ok(None));
    }

    #[test]
    fn a_lookup_says_what_becomes_of_the_rest() {
        let table = |otherwise: &str| format!(r#"[{{lookup = {{values = {{a = "1"}}{otherwise}}}}}]"#);
        assert_eq!(applied(&table(""), "a"), Ok(Some("1".into())));
        assert!(applied(&table(""), "b").is_err());
        assert_eq!(applied(&table(r#", otherwise = "null""#), "b"), Ok(None));
        assert_eq!(applied(&table(r#", otherwise = "keep""#), "b"), Ok(Some("b".into())));
    }

    #[test]
    fn an_unknown_transform_is_an_error_that_lists_the_known_ones() {
        #[derive(Debug, serde::Deserialize)]
        struct Table {
            #[expect(dead_code, reason = "only parsed")]
            t: Vec<Transform>,
        }
        let error = toml::from_str::<Table>(r#"t = ["trimm"]"#).unwrap_err();
        assert!(error.message().contains("unknown variant `trimm`"), "{error}");
    }
}
