//! Decimals as Avro writes them: a big-endian two's complement integer and a scale that the schema states.

use std::cmp::Ordering;

/// The most digits: what an `i128` holds.
pub(crate) const PRECISION_MAX: u32 = 38;

/// `10^exponent`; `None` beyond an `i128`.
pub(crate) fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// The integer; `None` when there are no bytes or more than 128 bits.
pub(crate) fn read(bytes: &[u8]) -> Option<i128> {
    let (first, _) = bytes.split_first()?;
    let filler = if *first >= 0x80 { 0xff } else { 0 };
    let mut wide = [filler; 16];
    let excess = bytes.len().saturating_sub(16);
    let (extension, kept) = bytes.split_at_checked(excess)?;
    // More bytes than 16 are only sign extension.
    if extension.iter().any(|byte| *byte != filler) {
        return None;
    }
    wide.get_mut(16 - kept.len()..)?.copy_from_slice(kept);
    let value = i128::from_be_bytes(wide);
    (value.is_negative() == (filler == 0xff)).then_some(value)
}

/// Appends the shortest bytes of the integer, without a length.
pub(crate) fn shortest(value: i128) -> ([u8; 16], usize) {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let mut skipped = 0;
    while let (Some(first), Some(second)) = (bytes.get(skipped), bytes.get(skipped + 1)) {
        if *first != sign || (*second >= 0x80) != (value < 0) {
            break;
        }
        skipped += 1;
    }
    (bytes, skipped)
}

/// Appends the value: length-prefixed, or sign-extended to a fixed size.
pub(crate) fn put(value: i128, size: Option<usize>, out: &mut Vec<u8>) {
    let (bytes, skipped) = shortest(value);
    let digits = bytes.get(skipped..).unwrap_or_default();
    match size {
        None => crate::cursor::put_bytes(digits, out),
        Some(size) => {
            let filler = if value < 0 { 0xff } else { 0 };
            out.extend(std::iter::repeat_n(filler, size.saturating_sub(digits.len())));
            out.extend_from_slice(digits.get(digits.len().saturating_sub(size)..).unwrap_or_default());
        }
    }
}

/// The greatest integer of that many digits; also what a fixed of `size` bytes holds.
pub(crate) fn most(precision: u32, size: Option<usize>) -> i128 {
    let digits = power(precision).map_or(i128::MAX, |limit| limit - 1);
    match size {
        Some(size) if size < 16 => {
            let bits = u32::try_from(size).unwrap_or(16) * 8;
            digits.min((1_i128 << bits.saturating_sub(1)) - 1)
        }
        _ => digits,
    }
}

/// The text without trailing zeros: `12.5`, `-0.05`, `100`.
pub(crate) fn put_text(unscaled: i128, scale: u32, out: &mut Vec<u8>) {
    let digits = unscaled.unsigned_abs().to_string();
    if unscaled < 0 {
        out.push(b'-');
    }
    let scale = scale as usize;
    let padded = format!("{}{digits}", "0".repeat((scale + 1).saturating_sub(digits.len())));
    let (whole, fraction) = padded.split_at_checked(padded.len() - scale).unwrap_or((&padded, ""));
    out.extend_from_slice(whole.as_bytes());
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

/// A decimal number as text (`-12.50`, `7`): unscaled integer and scale.
pub(crate) fn parse(text: &str) -> Option<(i128, u32)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let ends_in_point = digits.ends_with('.');
    if whole.is_empty() || ends_in_point || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some((if negative { -unscaled } else { unscaled }, u32::try_from(fraction.len()).ok()?))
}

/// The same number with another scale; `None` when digits would be lost or there are too many.
pub(crate) fn rescale(unscaled: i128, from: u32, to: u32) -> Option<i128> {
    if to >= from {
        return unscaled.checked_mul(power(to - from)?);
    }
    let divisor = power(from - to)?;
    (unscaled % divisor == 0).then_some(unscaled / divisor)
}

/// Compares two decimals of any scales.
pub(crate) fn compare(left: (i128, u32), right: (i128, u32)) -> Ordering {
    let scale = left.1.max(right.1);
    match (rescale(left.0, left.1, scale), rescale(right.0, right.1, scale)) {
        (Some(left), Some(right)) => left.cmp(&right),
        // What overflows is greater in magnitude than what does not; both cannot, one of the two keeps its scale.
        (None, _) => left.0.cmp(&0),
        (_, None) => 0.cmp(&right.0),
    }
}

/// The nearest double.
#[expect(clippy::cast_precision_loss, reason = "the other side of the comparison is a double")]
pub(crate) fn to_double(unscaled: i128, scale: u32) -> f64 {
    unscaled as f64 / power(scale).unwrap_or(i128::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_integers_agree() {
        for value in [0, 1, -1, 127, 128, -128, -129, 255, 256, i128::MAX, i128::MIN] {
            let (bytes, skipped) = shortest(value);
            assert_eq!(read(&bytes[skipped..]), Some(value));
            let mut fixed = Vec::new();
            put(value, Some(20), &mut fixed);
            assert_eq!(read(&fixed), Some(value));
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[1; 17]), None);
        assert_eq!(read(&[0x80; 16]).map(i128::is_negative), Some(true));
        assert_eq!(read(&[0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(shortest(128).1, 14);
        assert_eq!(shortest(-128).1, 15);
    }

    #[test]
    fn text_has_no_trailing_zeros() {
        for (unscaled, scale, text) in [
            (1250, 2, "12.5"),
            (-5, 2, "-0.05"),
            (100, 0, "100"),
            (0, 3, "0"),
            (1000, 3, "1"),
            (7, 3, "0.007"),
        ] {
            let mut out = Vec::new();
            put_text(unscaled, scale, &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(text));
        }
    }

    #[test]
    fn numbers_compare_across_scales_without_overflow() {
        assert_eq!(compare((125, 1), (1250, 2)), Ordering::Equal);
        assert_eq!(compare((i128::MAX, 0), (1, 38)), Ordering::Greater);
        assert_eq!(compare((1, 38), (i128::MIN, 0)), Ordering::Greater);
    }

    #[test]
    fn only_plain_decimal_numbers_are_numbers() {
        assert_eq!(parse("-12.50"), Some((-1250, 2)));
        assert_eq!(parse("1."), None);
        assert_eq!(parse("1e3"), None);
        assert_eq!(parse(""), None);
    }
}
