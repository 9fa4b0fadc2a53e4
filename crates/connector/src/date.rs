//! Dates as registers write them, to ISO 8601.

use jiff::civil::Date;

use crate::transform::half_width;

/// The first form that fits, as `YYYY-MM-DD`. A form is `era` or a strptime pattern; the whole text must be used.
pub(crate) fn iso(forms: &[String], text: &str) -> Option<String> {
    forms
        .iter()
        .find_map(|form| match form.as_str() {
            "era" => era(text),
            pattern => Date::strptime(pattern, text).ok(),
        })
        .map(|date| date.to_string())
}

/// A date of a Japanese era, with full-width or half-width digits: 平成29年５月15日, H28.10.4, 令和元年7月31日.
fn era(text: &str) -> Option<Date> {
    let text = half_width(text);
    let text = text.trim();
    let (first_year, rest) = ERAS.iter().find_map(|(name, letter, first_year)| {
        let rest = text.strip_prefix(name).or_else(|| text.strip_prefix(letter))?;
        Some((first_year, rest))
    })?;
    let (year, rest) = rest.split_once(['年', '.', '/', '-', '・'])?;
    let year = if year.trim() == "元" { 1 } else { number(year)? };
    let (month, rest) = rest.split_once(['月', '.', '/', '-', '・'])?;
    let day = rest.strip_suffix('日').unwrap_or(rest);
    let month = i8::try_from(number(month)?).ok()?;
    let day = i8::try_from(number(day)?).ok()?;
    (year > 0).then(|| Date::new(first_year + year - 1, month, day).ok())?
}

/// Name, letter and year 1 of each era.
const ERAS: [(&str, &str, i16); 5] =
    [("令和", "R", 2019), ("平成", "H", 1989), ("昭和", "S", 1926), ("大正", "T", 1912), ("明治", "M", 1868)];

fn number(text: &str) -> Option<i16> {
    let text = text.trim();
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn era_dates_with_mixed_digits_are_read() {
        for (text, date) in [
            ("平成29年５月15日", "2017-05-15"),
            ("H28.10.4", "2016-10-04"),
            ("令和元年7月31日", "2019-07-31"),
            ("Ｒ１．７．３１", "2019-07-31"),
            ("R1.5.9 ", "2019-05-09"),
            ("昭和64年1月7日", "1989-01-07"),
        ] {
            assert_eq!(iso(&["era".into()], text).as_deref(), Some(date), "{text}");
        }
    }

    #[test]
    fn a_partial_or_impossible_date_is_none() {
        for text in
            ["平成29年5月", "H28.13.4", "H28.2.30", "平成0年1月1日", "28.10.4", "", "X1.1.1", "H28.10.4送検"]
        {
            assert_eq!(iso(&["era".into()], text), None, "{text}");
        }
        assert_eq!(iso(&["%Y-%m-%d".into()], "2016-00-00"), None);
        assert_eq!(iso(&["%Y-%m-%d".into()], "2016-01-02 "), None);
        assert_eq!(
            iso(&["%Y/%m/%d".into(), "%Y年%m月%d日".into()], "2019年7月31日").as_deref(),
            Some("2019-07-31")
        );
    }
}
