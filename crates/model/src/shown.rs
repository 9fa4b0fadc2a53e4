//! Text of others on its way to a person's eyes.

/// Whether the character says something else to a terminal than it shows: a control character (C0, DEL, C1), or one that
/// turns the direction of writing.
#[must_use]
pub fn is_deceiving(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with such characters as their escapes, so that it stays within its line.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_deceiving(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_terminal_is_shown_as_its_escape() {
        for (text, expected) in [
            ("核验户籍 é", "核验户籍 é"),
            ("x\n+ grant y\r\t", "x\\n+ grant y\\r\\t"),
            ("\0\u{1b}[2J\u{7f}\u{9b}2J", "\\u{0}\\u{1b}[2J\\u{7f}\\u{9b}2J"),
            ("\u{202e}a\u{2066}\u{2069}\u{200f}", "\\u{202e}a\\u{2066}\\u{2069}\\u{200f}"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
