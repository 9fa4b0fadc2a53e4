//! Chongqing's districts and towns, and addresses in them.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;

use super::random;

/// 渝中区.
pub const YUZHONG: &str = "500103";
/// 江北区.
pub(super) const JIANGBEI: &str = "500105";

/// The statistical list of towns of 2023; see `data/README.md`.
const TOWNS: &str = include_str!("../../data/division/chongqing-towns-2023-06-30.csv");

/// Code, name and rounded thousands of inhabitants of the 38 districts and counties.
const DISTRICTS: [(&str, &str, u32); 38] = [
    ("500101", "万州区", 1564),
    ("500102", "涪陵区", 1115),
    ("500103", "渝中区", 589),
    ("500104", "大渡口区", 422),
    ("500105", "江北区", 926),
    ("500106", "沙坪坝区", 1477),
    ("500107", "九龙坡区", 1527),
    ("500108", "南岸区", 1198),
    ("500109", "北碚区", 835),
    ("500110", "綦江区", 1011),
    ("500111", "大足区", 835),
    ("500112", "渝北区", 2191),
    ("500113", "巴南区", 1179),
    ("500114", "黔江区", 487),
    ("500115", "长寿区", 693),
    ("500116", "江津区", 1360),
    ("500117", "合川区", 1245),
    ("500118", "永川区", 1149),
    ("500119", "南川区", 572),
    ("500120", "璧山区", 756),
    ("500151", "铜梁区", 686),
    ("500152", "潼南区", 688),
    ("500153", "荣昌区", 669),
    ("500154", "开州区", 1203),
    ("500155", "梁平区", 645),
    ("500156", "武隆区", 357),
    ("500229", "城口县", 198),
    ("500230", "丰都县", 557),
    ("500231", "垫江县", 651),
    ("500233", "忠县", 721),
    ("500235", "云阳县", 930),
    ("500236", "奉节县", 745),
    ("500237", "巫山县", 463),
    ("500238", "巫溪县", 389),
    ("500240", "石柱土家族自治县", 389),
    ("500241", "秀山土家族苗族自治县", 497),
    ("500242", "酉阳土家族苗族自治县", 607),
    ("500243", "彭水苗族土家族自治县", 531),
];

/// Names of streets that every town has in this city.
const STREETS: [&str; 24] = [
    "人民路",
    "和平路",
    "建设路",
    "解放路",
    "中山路",
    "新华路",
    "滨江路",
    "长江路",
    "嘉陵路",
    "文化路",
    "工农路",
    "胜利路",
    "光明路",
    "桂花路",
    "黄桷路",
    "石板路",
    "茶园路",
    "学府路",
    "翠云路",
    "锦绣路",
    "春晖路",
    "金山路",
    "凤凰路",
    "龙湖路",
];

/// The districts with their weights and towns.
#[derive(Debug, Clone)]
pub(super) struct Places {
    weights: Vec<(&'static str, u32)>,
    names: BTreeMap<&'static str, &'static str>,
    towns: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Places {
    pub(super) fn new() -> Self {
        let mut towns: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in TOWNS.lines().skip(1) {
            let mut fields = line.split(',').skip(1);
            if let (Some(name), Some(district)) = (fields.next(), fields.next()) {
                towns.entry(district).or_default().push(name.trim_matches('"'));
            }
        }
        Self {
            weights: DISTRICTS.iter().map(|(code, _, weight)| (*code, *weight)).collect(),
            names: DISTRICTS.iter().map(|(code, name, _)| (*code, *name)).collect(),
            towns,
        }
    }

    /// A district, the big ones more often.
    pub(super) fn district(&self, random: &mut Xoshiro256PlusPlus) -> &'static str {
        random::weighted(random, &self.weights)
    }

    /// The district's name.
    pub(super) fn name(&self, district: &str) -> &'static str {
        self.names.get(district).copied().unwrap_or_default()
    }

    /// An address in the district: a real town, a made-up street and house.
    pub(super) fn address(&self, random: &mut Xoshiro256PlusPlus, district: &str) -> String {
        let town = self.towns.get(district).map_or("", |towns| random::pick(random, towns));
        let (street, house) = (random::pick(random, &STREETS), random::below(random, 400) + 1);
        format!("重庆市{}{town}虚拟{street}{house}号", self.name(district))
    }

    /// A home in the district.
    pub(super) fn home(&self, random: &mut Xoshiro256PlusPlus, district: &str) -> String {
        let address = self.address(random, district);
        let (block, floor, door) =
            (random::below(random, 20) + 1, random::below(random, 32) + 1, random::below(random, 6) + 1);
        format!("{address}{block}幢{floor}-{door}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_district_has_towns() {
        let places = Places::new();
        assert!(DISTRICTS.iter().all(|(code, ..)| !places.towns[code].is_empty()));
        assert_eq!(places.towns.len(), DISTRICTS.len());
        assert_eq!((places.name(YUZHONG), places.name(JIANGBEI)), ("渝中区", "江北区"));
    }
}
