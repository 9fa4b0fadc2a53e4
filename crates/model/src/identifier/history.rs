//! What division codes meant when: GB/T 2260 codes are changed, ended and given again.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::DivisionCode;

/// The compiled history of the ministry's lists, 1981 to 2024; see `data/README.md`.
const GB2260: &str = include_str!("../../data/gb2260-history-2025-11.csv");

/// Every meaning that each code had. Built once by the program and passed to who needs it.
#[derive(Debug, Clone)]
pub struct DivisionHistory {
    /// The meanings of a code, oldest first; their terms do not overlap.
    by_code: BTreeMap<DivisionCode, Vec<Division>>,
}

/// One meaning of a code: a division under one name for some years.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// The code.
    pub code: DivisionCode,
    /// The division's name.
    pub name: String,
    /// The province's name.
    pub province: String,
    /// The prefecture's name as the source has it: `直辖` for what a province holds directly, empty for a province.
    pub prefecture: String,
    /// Province, prefecture or county.
    pub level: DivisionLevel,
    /// The first year whose list of 31 December has it.
    pub from_year: i16,
    /// The first year whose list no longer has it; `None` while it is in force.
    pub until_year: Option<i16>,
    /// Where its area went, wholly or in parts. Empty if the source does not say.
    pub successors: Vec<Successor>,
}

/// Where the area of a division went, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// The code that took the area.
    pub code: DivisionCode,
    /// The year; `None` for the end of the division itself.
    pub year: Option<i16>,
}

/// The three levels that GB/T 2260 numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DivisionLevel {
    /// 省级.
    Province,
    /// 地级.
    Prefecture,
    /// 县级.
    County,
}

/// A line of a history that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot read line {line} of the division history: {rule}")]
pub struct InvalidHistory {
    /// Counts from 1.
    pub line: usize,
    /// What was expected.
    pub rule: &'static str,
}

impl DivisionHistory {
    /// The history that this crate carries: GB/T 2260 from 1981 to 2024.
    ///
    /// # Errors
    /// Never, while the tests of this crate pass.
    pub fn gb2260() -> Result<Self, InvalidHistory> {
        Self::parse(GB2260)
    }

    /// Reads a history in the form of `data/gb2260-history-2025-11.csv`, with or without byte order mark.
    ///
    /// # Errors
    /// Names the first line that cannot be read, or that overlaps an earlier one of its code.
    pub fn parse(text: &str) -> Result<Self, InvalidHistory> {
        let mut by_code: BTreeMap<DivisionCode, Vec<Division>> = BTreeMap::new();
        for (line, row) in text.lines().enumerate().skip(1).filter(|(_, row)| !row.is_empty()) {
            let division = division(row).map_err(|rule| InvalidHistory { line: line + 1, rule })?;
            let meanings = by_code.entry(division.code.clone()).or_default();
            let place = meanings.partition_point(|other| other.from_year < division.from_year);
            let free = |earlier: Option<&Division>, later: Option<&Division>| match (earlier, later) {
                (Some(earlier), Some(later)) => {
                    earlier.until_year.is_some_and(|until| until <= later.from_year)
                }
                _ => true,
            };
            let before = place.checked_sub(1).and_then(|before| meanings.get(before));
            if !free(before, Some(&division)) || !free(Some(&division), meanings.get(place)) {
                return Err(InvalidHistory { line: line + 1, rule: "one meaning of a code at a time" });
            }
            meanings.insert(place, division);
        }
        Ok(Self { by_code })
    }

    /// What a code meant on a date: what the last list published by then says, and for a code that it does not have,
    /// the list of the date's own year. So a code keeps its old meaning to the end of the year in which it is given
    /// to another division, a new code is known from the start of its first year, and of an ended code nothing is
    /// known after its last year.
    #[must_use]
    pub fn meaning(&self, code: &DivisionCode, date: Date) -> Option<&Division> {
        let published = if (date.month(), date.day()) == (12, 31) { date.year() } else { date.year() - 1 };
        self.listed(code, published).or_else(|| self.listed(code, date.year()))
    }

    /// Every meaning that the code had, oldest first.
    #[must_use]
    pub fn meanings(&self, code: &DivisionCode) -> &[Division] {
        self.by_code.get(code).map_or(&[], Vec::as_slice)
    }

    /// Every division of the list of 31 December of a year, by code.
    pub fn list(&self, year: i16) -> impl Iterator<Item = &Division> {
        self.by_code.values().flatten().filter(move |division| division.is_listed(year))
    }

    fn listed(&self, code: &DivisionCode, year: i16) -> Option<&Division> {
        self.meanings(code).iter().find(|division| division.is_listed(year))
    }
}

impl Division {
    fn is_listed(&self, year: i16) -> bool {
        self.from_year <= year && self.until_year.is_none_or(|until| year < until)
    }
}

fn division(row: &str) -> Result<Division, &'static str> {
    let mut fields = row.trim_end_matches('\r').split(',');
    let mut field = || fields.next().ok_or("nine fields");
    let code = field()?;
    let (province, prefecture, name, level) = (field()?, field()?, field()?, field()?);
    let _state = field()?;
    let (from, until, successors) = (field()?, field()?, field()?);
    Ok(Division {
        code: DivisionCode::parse(code).map_err(|invalid| invalid.rule)?,
        name: name.to_owned(),
        province: province.to_owned(),
        prefecture: prefecture.to_owned(),
        level: match level {
            "省级" => DivisionLevel::Province,
            "地级" => DivisionLevel::Prefecture,
            "县级" => DivisionLevel::County,
            _ => return Err("the level is 省级, 地级 or 县级"),
        },
        from_year: year(from)?,
        until_year: if until.is_empty() { None } else { Some(year(until)?) },
        successors: successors
            .split(';')
            .filter(|part| !part.is_empty())
            .map(successor)
            .collect::<Result<_, _>>()?,
    })
}

/// `500110`, or `500110[2011]` for a part that went in that year.
fn successor(part: &str) -> Result<Successor, &'static str> {
    let (code, year_text) = match part.split_once('[') {
        Some((code, rest)) => {
            (code, Some(rest.strip_suffix(']').ok_or("a successor's year stands in brackets")?))
        }
        None => (part, None),
    };
    Ok(Successor {
        code: DivisionCode::parse(code).map_err(|invalid| invalid.rule)?,
        year: year_text.map(year).transpose()?,
    })
}

fn year(text: &str) -> Result<i16, &'static str> {
    text.parse().ok().filter(|year| (1949..=2999).contains(year)).ok_or("a year of four digits")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn code(text: &str) -> DivisionCode {
        DivisionCode::parse(text).unwrap()
    }

    #[test]
    fn a_reused_code_means_what_it_meant_on_the_date() {
        let history = DivisionHistory::gb2260().unwrap();
        let on = |code_text: &str, day| {
            history.meaning(&code(code_text), day).map(|division| division.name.as_str())
        };
        // 500110 was Wansheng from 1997 and is Qijiang since 2011.
        assert_eq!(on("500110", date(2005, 6, 1)), Some("万盛区"));
        assert_eq!(on("500110", date(2011, 12, 30)), Some("万盛区"));
        assert_eq!(on("500110", date(2011, 12, 31)), Some("綦江区"));
        assert_eq!(on("500110", date(2024, 1, 1)), Some("綦江区"));
        assert_eq!(on("500110", date(1996, 12, 31)), None);
        // Known from the start of its first year, unknown after its last.
        assert_eq!(on("500103", date(1997, 3, 14)), Some("渝中区"));
        assert_eq!(on("110103", date(2010, 12, 30)), Some("崇文区"));
        assert_eq!(on("110103", date(2010, 12, 31)), None);
    }

    #[test]
    fn successors_say_where_a_division_went() {
        let history = DivisionHistory::gb2260().unwrap();
        let [chongwen] = history.meanings(&code("110103")) else { panic!("one meaning") };
        assert_eq!(chongwen.successors, [Successor { code: code("110101"), year: None }]);
        let [hongqiao] = history.meanings(&code("120106")) else { panic!("one meaning") };
        assert_eq!(hongqiao.successors, [Successor { code: code("120113"), year: Some(2020) }]);
    }

    #[test]
    fn the_lists_have_as_many_divisions_as_the_ministry_published() {
        let history = DivisionHistory::gb2260().unwrap();
        for (year, divisions) in
            [(1981, 2640), (1990, 3203), (2000, 3231), (2010, 3226), (2020, 3211), (2024, 3213)]
        {
            assert_eq!(history.list(year).count(), divisions, "{year}");
        }
    }

    #[test]
    fn a_history_that_cannot_be_read_names_its_line() {
        let head = "代码,一级行政区,二级行政区,名称,级别,状态,启用时间,变更/弃用时间,新代码\n";
        let parse = |rows: &str| DivisionHistory::parse(&format!("{head}{rows}")).map(drop);
        assert_eq!(parse("110103,a,b,c,县级,弃用,1981,2010,\n110103,a,b,d,县级,在用,2010,,\n"), Ok(()));
        for rows in [
            "110103,a,b,c,县级,弃用,1981,2010,\n110103,a,b,d,县级,在用,2009,,",
            "110103,a,b,c,县级,在用,1981,,\n1101,a,b,c,县级,在用,1981,,",
        ] {
            assert_eq!(parse(rows).unwrap_err().line, 3);
        }
    }
}
