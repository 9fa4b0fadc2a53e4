//! One administrative permit or penalty.

use jiff::civil::{Date, date};

use super::company::{Company, authority_code};
use super::{Fault, Synth, fault, random};

/// Decisions are of the three years from here.
const FIRST_DAY: Date = date(2023, 1, 1);
const DAYS: u32 = 1_090;

/// The column headings of the permits' table: the national field codes.
pub(super) const PERMIT_HEADINGS: [&str; 18] = [
    "XK_XDR_MC",
    "XK_XDR_LB",
    "XK_XDR_SHXYM",
    "XK_FRDB",
    "XK_FR_ZJLX",
    "XK_FR_ZJHM",
    "XK_XKWS",
    "XK_WSH",
    "XK_XKLB",
    "XK_XKBH",
    "XK_NR",
    "XK_JDRQ",
    "XK_YXQZ",
    "XK_YXQZI",
    "XK_XKJG",
    "XK_XKJGDM",
    "XK_ZT",
    "XK_LYDW",
];

/// The column headings of the penalties' table: the national field codes.
pub(super) const PENALTY_HEADINGS: [&str; 18] = [
    "CF_XDR_MC",
    "CF_XDR_LB",
    "CF_XDR_SHXYM",
    "CF_FRDB",
    "CF_FR_ZJLX",
    "CF_FR_ZJHM",
    "CF_WSH",
    "CF_WFXW",
    "CF_SY",
    "CF_YJ",
    "CF_CFLB",
    "CF_NR",
    "CF_NR_FK",
    "CF_JDRQ",
    "CF_YXQ",
    "CF_GSJZQ",
    "CF_CFJG",
    "CF_CFJGDM",
];

const PERMITS: [(&str, &str, &str); 4] = [
    ("食品经营许可证", "普通", "食品销售经营者；预包装食品销售"),
    ("公共场所卫生许可证", "普通", "公共场所经营"),
    ("道路运输经营许可证", "普通", "普通货物运输"),
    ("排污许可证", "普通", "排放水污染物、大气污染物"),
];

const OFFENCES: [(&str, &str, &str); 4] = [
    ("未按规定公示年度报告", "未在规定期限内公示年度报告", "《企业信息公示暂行条例》"),
    ("无证经营", "未取得许可从事经营活动", "《无证无照经营查处办法》"),
    ("虚假宣传", "对商品的性能作虚假的商业宣传", "《中华人民共和国反不正当竞争法》"),
    ("安全生产违法", "未对从业人员进行安全生产教育和培训", "《中华人民共和国安全生产法》"),
];

/// The row of a permit under [`PERMIT_HEADINGS`], with its fault if it has one.
pub(super) fn permit(synth: &Synth, index: u64, companies: u64) -> Option<[String; 18]> {
    let mut random = random::of(synth.seed, "permit", index);
    let holder = Company::of(synth, random::mix(synth.seed, "holder", index) % companies.max(1))?;
    let (title, kind, content) = random::pick(&mut random, &PERMITS);
    let day = decided(random::below(&mut random, DAYS))?;
    let ends = day.checked_add(jiff::Span::new().years(5)).ok()?;
    let fault = Fault::of_row(index);
    let broken = |kind| fault == Some(kind);
    let uscc = holder.uscc.as_str();
    let (authority, code) = authority(synth, &holder)?;
    Some([
        if broken(Fault::Missing) { String::new() } else { holder.name },
        "法人及非法人组织".to_owned(),
        if broken(Fault::CheckCharacter) { fault::break_check_character(uscc) } else { uscc.to_owned() },
        holder.legal_name,
        "身份证".to_owned(),
        holder.legal_cert_no,
        title.to_owned(),
        format!("渝虚拟许决〔{}〕{index:07}号", day.year()),
        kind.to_owned(),
        format!("XNXK{index:08}"),
        content.to_owned(),
        if broken(Fault::ImpossibleDate) { format!("{}-02-30", day.year()) } else { day.to_string() },
        day.to_string(),
        ends.to_string(),
        authority.clone(),
        code,
        "1".to_owned(),
        authority,
    ])
}

/// The row of a penalty under [`PENALTY_HEADINGS`], with its fault if it has one.
pub(super) fn penalty(synth: &Synth, index: u64, companies: u64) -> Option<[String; 18]> {
    let mut random = random::of(synth.seed, "penalty", index);
    let offender = Company::of(synth, random::mix(synth.seed, "offender", index) % companies.max(1))?;
    let (offence, facts, law) = random::pick(&mut random, &OFFENCES);
    let day = decided(random::below(&mut random, DAYS))?;
    let fine = random::below(&mut random, 400) + 1;
    let fault = Fault::of_row(index);
    let broken = |kind| fault == Some(kind);
    let uscc = offender.uscc.as_str();
    let (authority, code) = authority(synth, &offender)?;
    let until = |years| day.checked_add(jiff::Span::new().years(years)).map(|date| date.to_string()).ok();
    Some([
        if broken(Fault::Missing) { String::new() } else { offender.name },
        "法人及非法人组织".to_owned(),
        if broken(Fault::CheckCharacter) { fault::break_check_character(uscc) } else { uscc.to_owned() },
        offender.legal_name,
        "身份证".to_owned(),
        offender.legal_cert_no,
        format!("渝虚拟罚〔{}〕{index:07}号", day.year()),
        offence.to_owned(),
        facts.to_owned(),
        law.to_owned(),
        "罚款".to_owned(),
        format!("罚款{}元", fine * 500),
        // In 10,000 yuan, as the standard has it.
        format!("{}.{:02}", fine / 20, fine % 20 * 5),
        if broken(Fault::ImpossibleDate) { format!("{}-02-30", day.year()) } else { day.to_string() },
        until(1)?,
        until(3)?,
        authority,
        code,
    ])
}

fn decided(days: u32) -> Option<Date> {
    FIRST_DAY.checked_add(jiff::Span::new().days(i64::from(days))).ok()
}

/// The market regulator of the company's district: name and code.
fn authority(synth: &Synth, company: &Company) -> Option<(String, String)> {
    let code = authority_code(company.division, 1).ok()?;
    Some((format!("{}市场监督管理局", synth.places.name(company.division)), code.as_str().to_owned()))
}
