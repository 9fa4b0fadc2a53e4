//! One organisation of the legal person register.

use jiff::civil::{Date, date};
use shuniu_model::identifier::{InvalidIdentifier, OrganisationCode, Uscc};

use super::person::Person;
use super::{Fault, Synth, fault, name, random};

/// Nothing is dated before this.
const FIRST_DAY: Date = date(1995, 1, 1);

/// One row of the legal person register, as the source's table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Company {
    pub(super) uscc: Uscc,
    pub(super) name: String,
    pub(super) legal_name: String,
    pub(super) legal_cert_no: String,
    pub(super) division: &'static str,
    pub(super) address: String,
    pub(super) capital: String,
    pub(super) established: Date,
    pub(super) scope: &'static str,
    pub(super) industry: &'static str,
    pub(super) status: &'static str,
    pub(super) fault: Option<Fault>,
}

/// The column headings of the source's table.
pub(super) const HEADINGS: [&str; 18] = [
    "统一社会信用代码",
    "机构名称",
    "机构类型",
    "法定代表人姓名",
    "法定代表人证件类型",
    "法定代表人证件号码",
    "住所",
    "行政区划",
    "注册资本",
    "币种",
    "成立日期",
    "核准日期",
    "经营期限自",
    "经营期限至",
    "经营范围",
    "行业代码",
    "登记机关",
    "登记状态",
];

/// The code of a made-up authority: organisation code `XNG` and five digits.
///
/// # Errors
/// If the division is not six digits.
pub fn authority_code(division: &str, number: u16) -> Result<Uscc, InvalidIdentifier> {
    code("11", division, &format!("XNG{number:05}"))
}

fn code(kind: &str, division: &str, organisation: &str) -> Result<Uscc, InvalidIdentifier> {
    let body = organisation.as_bytes().try_into().map_err(|_| InvalidIdentifier {
        kind: "organisation code",
        rule: "8 characters before the check character",
    })?;
    Uscc::from_parts(kind, division, &OrganisationCode::from_body(body)?)
}

impl Company {
    pub(super) fn of(synth: &Synth, index: u64) -> Option<Self> {
        let mut random = random::of(synth.seed, "company", index);
        let division = synth.places.district(&mut random);
        let (trade, industry, scope) = random::pick(&mut random, &name::TRADES);
        let bound = u32::try_from(synth.people()).unwrap_or(u32::MAX);
        let representative = Person::first(synth, u64::from(random::below(&mut random, bound)))?;
        let days = i64::from(random::below(&mut random, 10_500));
        Some(Self {
            uscc: code("91", division, &format!("XN{index:06}")).ok()?,
            name: format!("重庆{}虚拟{index:07}{trade}有限公司", synth.places.name(division)),
            legal_name: representative.name,
            legal_cert_no: representative.id_no,
            division,
            address: synth.places.address(&mut random, division),
            capital: capital(random::below(&mut random, 4), random::below(&mut random, 90) + 10),
            established: FIRST_DAY.checked_add(jiff::Span::new().days(days)).ok()?,
            scope,
            industry,
            status: random::weighted(
                &mut random,
                &[("存续", 870), ("注销", 100), ("吊销", 20), ("迁出", 10)],
            ),
            fault: Fault::of_row(index),
        })
    }

    /// The row under [`HEADINGS`], with its fault if it has one.
    pub(super) fn row(&self, synth: &Synth) -> [String; 18] {
        let broken = |fault| self.fault == Some(fault);
        let uscc = self.uscc.as_str();
        let day = self.established.to_string();
        [
            if broken(Fault::CheckCharacter) { fault::break_check_character(uscc) } else { uscc.to_owned() },
            if broken(Fault::Missing) { String::new() } else { self.name.clone() },
            "有限责任公司".to_owned(),
            self.legal_name.clone(),
            "111".to_owned(),
            self.legal_cert_no.clone(),
            self.address.clone(),
            self.division.to_owned(),
            self.capital.clone(),
            "CNY".to_owned(),
            if broken(Fault::ImpossibleDate) {
                format!("{}-13-01", self.established.year())
            } else {
                day.clone()
            },
            day.clone(),
            day,
            "9999-12-31".to_owned(),
            self.scope.to_owned(),
            self.industry.to_owned(),
            format!("{}市场监督管理局", synth.places.name(self.division)),
            self.status.to_owned(),
        ]
    }
}

/// Registered capital in 万元: 0.5 to 99,000.
fn capital(magnitude: u32, digits: u32) -> String {
    match magnitude {
        0 => format!("{}.5", digits / 10),
        1 => digits.to_string(),
        2 => (digits * 10).to_string(),
        _ => (digits * 1_000).to_string(),
    }
}
