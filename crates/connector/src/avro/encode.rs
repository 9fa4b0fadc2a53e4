//! Texts to Avro binary.

use jiff::civil::Date;

use super::Kind;

/// Appends the value that the text stands for; `None` is null. The error is the rule that the text breaks.
pub(crate) fn put(kind: &Kind, text: Option<&str>, out: &mut Vec<u8>) -> Result<(), String> {
    let Some(text) = text else {
        return match (kind, kind.null_branch()) {
            (_, Some(branch)) => {
                put_length(branch, out);
                Ok(())
            }
            (Kind::Null, None) => Ok(()),
            _ => Err("a value is required".into()),
        };
    };
    let (branch, kind) = kind.value_branch().ok_or("a type with a single form")?;
    if let Some(branch) = branch {
        put_length(branch, out);
    }
    match kind {
        Kind::Text => {
            put_bytes(text.as_bytes(), out);
            Ok(())
        }
        Kind::Date => {
            let days = text.parse::<Date>().ok().filter(|_| text.len() == 10).and_then(days);
            put_long(i64::from(days.ok_or("a date as YYYY-MM-DD")?), out);
            Ok(())
        }
        Kind::Decimal { precision, scale, size } => put_decimal(text, *precision, *scale, *size, out),
        Kind::Int => {
            put_long(i64::from(text.parse::<i32>().map_err(|_| "a 32-bit integer")?), out);
            Ok(())
        }
        Kind::Long => {
            put_long(text.parse().map_err(|_| "an integer")?, out);
            Ok(())
        }
        Kind::Boolean => {
            out.push(match text {
                "true" => 1,
                "false" => 0,
                _ => return Err("`true` or `false`".into()),
            });
            Ok(())
        }
        Kind::Double => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or("a number")?;
            out.extend_from_slice(&number.to_le_bytes());
            Ok(())
        }
        Kind::Float => {
            let number = text.parse::<f32>().ok().filter(|number| number.is_finite()).ok_or("a number")?;
            out.extend_from_slice(&number.to_le_bytes());
            Ok(())
        }
        Kind::Enum(symbols) => {
            let symbol = symbols.iter().position(|symbol| symbol == text);
            put_length(symbol.ok_or_else(|| format!("one of {}", symbols.join(", ")))?, out);
            Ok(())
        }
        Kind::Instant(parts) => {
            let instant =
                text.parse::<jiff::Timestamp>().map_err(|_| "an instant as RFC 3339, with its zone")?;
            put_long(parts_of(instant.as_nanosecond(), *parts)?, out);
            Ok(())
        }
        Kind::Local(parts) => {
            let local = text.parse::<jiff::civil::DateTime>().map_err(|_| "a date and time as ISO 8601")?;
            let zoned = local
                .to_zoned_datetime(jiff::tz::TimeZone::UTC)
                .map_err(|_| "a date and time as ISO 8601")?;
            put_long(parts_of(zoned.timestamp().as_nanosecond(), *parts)?, out);
            Ok(())
        }
        Kind::Null
        | Kind::Bytes
        | Kind::Fixed(_)
        | Kind::Array(_)
        | Kind::Map(_)
        | Kind::Record(_)
        | Kind::Union(_) => Err("a type that a file's column can have".into()),
    }
}

/// Whether a column can fill an item of the kind.
pub(crate) fn is_fillable(kind: &Kind) -> bool {
    match kind.value_branch() {
        Some((_, value)) => !matches!(
            value,
            Kind::Null
                | Kind::Bytes
                | Kind::Fixed(_)
                | Kind::Array(_)
                | Kind::Map(_)
                | Kind::Record(_)
                | Kind::Union(_)
        ),
        None => false,
    }
}

fn days(date: Date) -> Option<i32> {
    let since = date.since((jiff::Unit::Day, Date::constant(1970, 1, 1))).ok()?;
    (date.year() > 0).then(|| since.get_days())
}

fn parts_of(nanoseconds: i128, parts: i64) -> Result<i64, String> {
    let divisor = i128::from(1_000_000_000 / parts.max(1));
    if nanoseconds % divisor != 0 {
        return Err(format!("an instant in parts of 1/{parts} s"));
    }
    i64::try_from(nanoseconds / divisor).map_err(|_| "an instant of the years that fit".into())
}

fn put_decimal(
    text: &str,
    precision: u32,
    scale: u32,
    size: Option<usize>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || digits.ends_with('.') || !all_digits(whole) || !all_digits(fraction) {
        return Err("a decimal number".into());
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = (scale as usize)
        .checked_sub(fraction.len())
        .ok_or_else(|| format!("a decimal number with at most {scale} decimals"))?;
    let all = format!("{whole}{fraction}{}", "0".repeat(missing));
    let too_long = || format!("a decimal number of at most {precision} digits");
    if all.trim_start_matches('0').len() > precision as usize {
        return Err(too_long());
    }
    let number: i128 = all.parse().map_err(|_| too_long())?;
    let number = if negative { -number } else { number };
    match size {
        None => put_bytes(shortest(&number.to_be_bytes(), negative), out),
        Some(size) => {
            let bytes = number.to_be_bytes();
            let bytes = shortest(&bytes, negative);
            let missing = size.checked_sub(bytes.len()).ok_or_else(too_long)?;
            out.extend(std::iter::repeat_n(if negative && number != 0 { 0xff } else { 0 }, missing));
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

/// The shortest two's complement of the same number.
fn shortest(bytes: &[u8], negative: bool) -> &[u8] {
    let mut bytes = bytes;
    while let [first, rest @ ..] = bytes
        && let [second, ..] = rest
        && ((!negative && *first == 0 && *second < 0x80)
            || (negative && *first == 0xff && *second >= 0x80)
            || (*first == 0 && negative && *second < 0x80))
    {
        bytes = rest;
    }
    bytes
}

pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    // No length in memory exceeds an i64.
    put_long(i64::try_from(length).unwrap_or(i64::MAX), out);
}

fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}
