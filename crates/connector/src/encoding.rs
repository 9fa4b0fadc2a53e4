//! Bytes to text, in the declared encoding and no other.

use crate::config::Encoding;

/// Bytes that are no text in the declared encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} is not {encoding}")]
pub(crate) struct Undecodable {
    /// The offset in the decoded bytes, counted from 0.
    pub(crate) at: usize,
    pub(crate) encoding: &'static str,
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Gb18030 => "GB18030",
            Self::Big5 => "Big5",
            Self::Windows1252 => "Windows-1252",
        }
    }

    /// The text. A byte order mark is not looked for: it is handled where the file begins.
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<String, Undecodable> {
        let undecodable = |at| Undecodable { at, encoding: self.name() };
        let codec = match self {
            Self::Utf8 => {
                return match std::str::from_utf8(bytes) {
                    Ok(text) => Ok(text.to_owned()),
                    Err(error) => Err(undecodable(error.valid_up_to())),
                };
            }
            Self::Gb18030 => encoding_rs::GB18030,
            Self::Big5 => encoding_rs::BIG5,
            Self::Windows1252 => encoding_rs::WINDOWS_1252,
        };
        // encoding_rs follows the web, where the five bytes that Windows-1252 leaves free are control characters.
        if self == Self::Windows1252
            && let Some(at) = bytes.iter().position(|byte| matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d))
        {
            return Err(undecodable(at));
        }
        let mut text = String::with_capacity(bytes.len() * 2);
        let mut decoder = codec.new_decoder_without_bom_handling();
        let mut rest = bytes;
        loop {
            let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
            let at = bytes.len() - rest.len() + read;
            match result {
                encoding_rs::DecoderResult::InputEmpty => return Ok(text),
                encoding_rs::DecoderResult::OutputFull => {
                    rest = rest.get(read..).unwrap_or_default();
                    text.reserve(rest.len() * 3 + 16);
                }
                encoding_rs::DecoderResult::Malformed(length, after) => {
                    return Err(undecodable(at.saturating_sub(usize::from(length + after))));
                }
            }
        }
    }
}

/// The length of a UTF-8 byte order mark at the start; an error where the mark belies the declared encoding.
pub(crate) fn byte_order_mark(encoding: Encoding, start: &[u8]) -> Result<usize, &'static str> {
    if start.starts_with(&[0xef, 0xbb, 0xbf]) {
        return if encoding == Encoding::Utf8 { Ok(3) } else { Err("UTF-8") };
    }
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err("UTF-16");
    }
    if start.starts_with(&[0x84, 0x31, 0x95, 0x33]) {
        return if encoding == Encoding::Gb18030 { Ok(4) } else { Err("GB18030") };
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decode_in_the_declared_encoding_alone() {
        assert_eq!(Encoding::Gb18030.decode(b"\xd6\xd0\xce\xc4").unwrap(), "中文");
        assert_eq!(Encoding::Big5.decode(b"\xa4\xa4\xa4\xe5").unwrap(), "中文");
        assert_eq!(Encoding::Windows1252.decode(b"C\xf4te d\x92Ivoire").unwrap(), "Côte d’Ivoire");
    }

    #[test]
    fn an_undecodable_byte_is_named_by_its_offset() {
        assert_eq!(Encoding::Utf8.decode(b"ab\xff").unwrap_err().at, 2);
        assert_eq!(Encoding::Gb18030.decode(b"a\xd6\xd0\xff").unwrap_err().at, 3);
        assert_eq!(Encoding::Big5.decode(b"\xa4\xa4\xff\x41").unwrap_err().at, 2);
        assert_eq!(Encoding::Windows1252.decode(b"abc\x81").unwrap_err().at, 3);
    }

    #[test]
    fn a_byte_order_mark_of_another_encoding_is_noticed() {
        assert_eq!(byte_order_mark(Encoding::Utf8, b"\xef\xbb\xbfa"), Ok(3));
        assert_eq!(byte_order_mark(Encoding::Big5, b"\xef\xbb\xbfa"), Err("UTF-8"));
        assert_eq!(byte_order_mark(Encoding::Utf8, b"\xff\xfea\0"), Err("UTF-16"));
    }
}
