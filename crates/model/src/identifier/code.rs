//! Closed code lists: sex, marital status, ethnic group.

use super::InvalidIdentifier;

/// Sex (人的性别代码), GB/T 2261.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SexCode {
    /// 0 未知的性别.
    Unknown,
    /// 1 男性.
    Male,
    /// 2 女性.
    Female,
    /// 9 未说明的性别.
    Unstated,
}

impl SexCode {
    /// Parses the code, one digit.
    ///
    /// # Errors
    /// Says that the list does not have it.
    pub fn parse(value: &str) -> Result<Self, InvalidIdentifier> {
        Self::of(value.as_bytes())
    }

    /// Holds the list without making a value.
    ///
    /// # Errors
    /// Says that the list does not have it.
    pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
        Self::of(value).map(drop)
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "0",
            Self::Male => "1",
            Self::Female => "2",
            Self::Unstated => "9",
        }
    }

    fn of(value: &[u8]) -> Result<Self, InvalidIdentifier> {
        Ok(match value {
            b"0" => Self::Unknown,
            b"1" => Self::Male,
            b"2" => Self::Female,
            b"9" => Self::Unstated,
            _ => return Err(InvalidIdentifier::new("sex code", "one of 0, 1, 2, 9 (GB/T 2261.1)")),
        })
    }
}

/// Marital status (婚姻状况代码), GB/T 2261.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaritalCode(u8);

const MARITAL: [(u8, &str); 8] = [
    (10, "未婚"),
    (20, "已婚"),
    (21, "初婚"),
    (22, "再婚"),
    (23, "复婚"),
    (30, "丧偶"),
    (40, "离婚"),
    (90, "未说明的婚姻状况"),
];

/// Ethnic group (民族代码), GB/T 3304: 01 to 56, and 97 to 99 as registers use them beside the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EthnicCode(u8);

const ETHNIC: [(u8, &str); 59] = [
    (1, "汉族"),
    (2, "蒙古族"),
    (3, "回族"),
    (4, "藏族"),
    (5, "维吾尔族"),
    (6, "苗族"),
    (7, "彝族"),
    (8, "壮族"),
    (9, "布依族"),
    (10, "朝鲜族"),
    (11, "满族"),
    (12, "侗族"),
    (13, "瑶族"),
    (14, "白族"),
    (15, "土家族"),
    (16, "哈尼族"),
    (17, "哈萨克族"),
    (18, "傣族"),
    (19, "黎族"),
    (20, "傈僳族"),
    (21, "佤族"),
    (22, "畲族"),
    (23, "高山族"),
    (24, "拉祜族"),
    (25, "水族"),
    (26, "东乡族"),
    (27, "纳西族"),
    (28, "景颇族"),
    (29, "柯尔克孜族"),
    (30, "土族"),
    (31, "达斡尔族"),
    (32, "仫佬族"),
    (33, "羌族"),
    (34, "布朗族"),
    (35, "撒拉族"),
    (36, "毛南族"),
    (37, "仡佬族"),
    (38, "锡伯族"),
    (39, "阿昌族"),
    (40, "普米族"),
    (41, "塔吉克族"),
    (42, "怒族"),
    (43, "乌孜别克族"),
    (44, "俄罗斯族"),
    (45, "鄂温克族"),
    (46, "德昂族"),
    (47, "保安族"),
    (48, "裕固族"),
    (49, "京族"),
    (50, "塔塔尔族"),
    (51, "独龙族"),
    (52, "鄂伦春族"),
    (53, "赫哲族"),
    (54, "门巴族"),
    (55, "珞巴族"),
    (56, "基诺族"),
    (97, "其他"),
    (98, "外国血统中国籍人士"),
    (99, "不详"),
];

macro_rules! listed {
    ($name:ident, $list:ident, $kind:literal, $rule:literal) => {
        impl $name {
            /// Parses the code, two digits.
            ///
            /// # Errors
            /// Says that the list does not have it.
            pub fn parse(value: &str) -> Result<Self, InvalidIdentifier> {
                Self::of(value.as_bytes())
            }

            /// Holds the list without making a value.
            ///
            /// # Errors
            /// Says that the list does not have it.
            pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
                Self::of(value).map(drop)
            }

            /// The Chinese name.
            #[must_use]
            pub fn name_zh(self) -> &'static str {
                $list.iter().find(|(code, _)| *code == self.0).map_or("", |(_, name)| name)
            }

            /// Every code of the list, in order.
            pub fn all() -> impl Iterator<Item = Self> {
                $list.iter().map(|(code, _)| Self(*code))
            }

            fn of(value: &[u8]) -> Result<Self, InvalidIdentifier> {
                let invalid = InvalidIdentifier::new($kind, $rule);
                let [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = value else { return Err(invalid) };
                let number = (tens - b'0') * 10 + (ones - b'0');
                if $list.iter().any(|(code, _)| *code == number) { Ok(Self(number)) } else { Err(invalid) }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:02}", self.0)
            }
        }
    };
}

listed!(MaritalCode, MARITAL, "marital status code", "one of 10, 20, 21, 22, 23, 30, 40, 90 (GB/T 2261.2)");
listed!(EthnicCode, ETHNIC, "ethnic group code", "two digits, 01 to 56 or 97 to 99 (GB/T 3304)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_codes_exist() {
        assert_eq!(EthnicCode::parse("15").unwrap().name_zh(), "土家族");
        assert_eq!(EthnicCode::parse("01").unwrap().to_string(), "01");
        assert_eq!(EthnicCode::all().count(), 59);
        assert_eq!(MaritalCode::parse("20").unwrap().name_zh(), "已婚");
        for bad in ["", "0", "00", "57", "1", "001", "x1"] {
            assert!(EthnicCode::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "3", "男", "01"] {
            assert!(SexCode::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(SexCode::parse("2").unwrap().as_str(), "2");
    }
}
