//! Amounts of money as registers write them: `5,147.1628(万)`, `30(万人民币元)`, `700(万美元)`, `1000万元人民币`.

use crate::config::AmountPart;
use crate::transform::half_width;

/// One part of the amount: `None` where the text is no amount, `Some(None)` where it lacks that part.
#[expect(clippy::option_option, reason = "no amount and an amount without a currency are two answers")]
pub(crate) fn part(text: &str, part: AmountPart) -> Option<Option<String>> {
    let text = half_width(text);
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let digits = plain_number(digits)?;
    let unit = unit.trim().trim_start_matches('(').trim_end_matches(')').trim();
    let (unit, is_ten_thousands) = match unit.strip_prefix('万') {
        Some(rest) => (rest, true),
        None => (unit, false),
    };
    let currency = currency(unit)?;
    Some(match part {
        AmountPart::Currency => currency.map(str::to_owned),
        AmountPart::TenThousands => Some(if is_ten_thousands { digits } else { shifted(&digits, -4) }),
        AmountPart::Units => Some(if is_ten_thousands { shifted(&digits, 4) } else { digits }),
    })
}

/// The ISO 4217 code; `Some(None)` where none is written.
#[expect(clippy::option_option, reason = "an unknown currency and none at all are two answers")]
fn currency(unit: &str) -> Option<Option<&'static str>> {
    Some(match unit {
        "" => None,
        "元" | "人民币" | "人民币元" | "元人民币" => Some("CNY"),
        "美元" => Some("USD"),
        "欧元" => Some("EUR"),
        "日元" => Some("JPY"),
        "港元" | "香港元" | "港币" => Some("HKD"),
        "英镑" => Some("GBP"),
        "新台币" | "台币" => Some("TWD"),
        "韩元" => Some("KRW"),
        "新加坡元" => Some("SGD"),
        "澳元" | "澳大利亚元" => Some("AUD"),
        "加元" | "加拿大元" => Some("CAD"),
        "瑞士法郎" => Some("CHF"),
        _ => return None,
    })
}

/// Digits with an optional point; commas only between groups of three.
fn plain_number(text: &str) -> Option<String> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let rest: Vec<&str> = groups.collect();
    let grouped = rest.iter().all(|group| is_number(group) && group.len() == 3)
        && (rest.is_empty() || first.len() <= 3);
    if !is_number(first) || !grouped || fraction.is_some_and(|fraction| !is_number(fraction)) {
        return None;
    }
    let whole = format!("{first}{}", rest.concat());
    Some(match fraction {
        Some(fraction) => format!("{whole}.{fraction}"),
        None => whole,
    })
}

/// The number with its point moved, exactly.
fn shifted(number: &str, places: i32) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let count = places.unsigned_abs() as usize;
    let (whole, fraction) = if places >= 0 {
        let padded = format!("{fraction}{}", "0".repeat(count.saturating_sub(fraction.len())));
        let (up, rest) = padded.split_at_checked(count).unwrap_or((&padded, ""));
        (format!("{whole}{up}"), rest.to_owned())
    } else {
        let padded = format!("{}{whole}", "0".repeat((count + 1).saturating_sub(whole.len())));
        let (rest, down) = padded.split_at_checked(padded.len() - count).unwrap_or((&padded, ""));
        (rest.to_owned(), format!("{down}{fraction}"))
    };
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_a_number_and_a_currency() {
        for (text, ten_thousands, units, currency) in [
            ("5,147.1628(万)", "5147.1628", "51471628", None),
            ("30(万人民币元)", "30", "300000", Some("CNY")),
            ("700(万美元)", "700", "7000000", Some("USD")),
            ("1000万人民币", "1000", "10000000", Some("CNY")),
            ("50（万元）", "50", "500000", Some("CNY")),
            ("12,345.5(元)", "1.23455", "12345.5", Some("CNY")),
            ("0.00005(万港元)", "0.00005", "0.5", Some("HKD")),
        ] {
            assert_eq!(part(text, AmountPart::TenThousands), Some(Some(ten_thousands.into())), "{text}");
            assert_eq!(part(text, AmountPart::Units), Some(Some(units.into())), "{text}");
            assert_eq!(part(text, AmountPart::Currency), Some(currency.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in ["", "N/A", "2002-01-02", "5,14(万)", "1.2.3(万)", "30(万贝壳)", ".5(万)", "5.(万)"]
        {
            assert_eq!(part(text, AmountPart::Units), None, "{text}");
        }
    }
}
