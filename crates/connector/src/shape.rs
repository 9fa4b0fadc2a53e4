//! What a value looks like, without saying what it is.

/// The value's length and kinds of characters: `15 digits`, `17 characters: digits, capital letters`. Reject files and
/// reports carry this and never the value.
pub(crate) fn shape(text: &str) -> String {
    let count = text.chars().count();
    if count == 0 {
        return "empty".into();
    }
    let classes = [
        ("digits", char::is_ascii_digit as fn(&char) -> bool),
        ("capital letters", char::is_ascii_uppercase),
        ("small letters", char::is_ascii_lowercase),
        ("blanks", |c| c.is_whitespace()),
        ("signs", |c| c.is_ascii_punctuation()),
        ("full-width forms", |c| ('\u{ff01}'..='\u{ff5e}').contains(c)),
        ("control characters", |c| c.is_control() && !c.is_whitespace()),
        ("other letters", |c| {
            !c.is_ascii() && !c.is_whitespace() && !c.is_control() && !('\u{ff01}'..='\u{ff5e}').contains(c)
        }),
    ];
    let found: Vec<&str> =
        classes.iter().filter(|(_, holds)| text.chars().any(|c| holds(&c))).map(|(name, _)| *name).collect();
    match found.as_slice() {
        ["digits"] if count > 1 => format!("{count} digits"),
        _ => format!("{count} character{}: {}", if count == 1 { "" } else { "s" }, found.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_says_length_and_kinds_and_never_the_value() {
        assert_eq!(shape("510681000018582"), "15 digits");
        assert_eq!(shape("91610722MA6YN2BOXN"), "18 characters: digits, capital letters");
        assert_eq!(shape("510681000018582（1-1）"), "20 characters: digits, signs, full-width forms");
        assert_eq!(shape("重庆市 1号"), "6 characters: digits, blanks, other letters");
        assert_eq!(shape(""), "empty");
    }
}
