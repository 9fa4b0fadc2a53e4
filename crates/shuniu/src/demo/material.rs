//! The files that the demonstration lays out, carried in the program so that it needs nothing else on the machine.

/// A file: where it goes, relative to the demonstration's folder, and what is in it.
pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) content: &'static [u8],
}

macro_rules! files {
    ($from:literal, $to:literal, [$($name:literal),* $(,)?]) => {
        &[$(File {
            path: concat!($to, "/", $name),
            content: include_bytes!(concat!("../../", $from, "/", $name)),
        }),*]
    };
}

/// Division lists by vintage, oldest first within each series.
pub(super) const DIVISIONS: &[File] = files!(
    "data/division",
    "sources/division",
    [
        "chongqing-towns-2016-07-31.csv",
        "chongqing-towns-2017-10-31.csv",
        "chongqing-towns-2018-10-31.csv",
        "chongqing-towns-2019-10-31.csv",
        "chongqing-towns-2020-06-30.csv",
        "chongqing-towns-2021-10-31.csv",
        "chongqing-towns-2022-10-31.csv",
        "chongqing-towns-2023-06-30.csv",
        "counties-2016-07-31.csv",
        "counties-2017-10-31.csv",
        "counties-2018-10-31.csv",
        "counties-2019-10-31.csv",
        "counties-2020-06-30.csv",
        "counties-2021-10-31.csv",
        "counties-2022-10-31.csv",
        "counties-2023-06-30.csv",
    ]
);

/// Legal entities with their LEI.
pub(super) const LEGAL_ENTITIES: &[File] =
    files!("data/gleif", "sources/legal-entity", ["lei-cn-hk-sg.csv",]);

/// The labour-penalty lists, month by month.
pub(super) const LABOUR_PENALTIES: &[File] = files!(
    "data/labour-penalty",
    "sources/labour-penalty",
    [
        "001_company_list_20161001_to_20170430.tsv",
        "002_company_list_20161001_to_20170531.tsv",
        "003_company_list_20161001_to_20170630.tsv",
        "004_company_list_20161001_to_20170731.tsv",
        "005_company_list_20161001_to_20170831.tsv",
        "006_company_list_20161001_to_20170930.tsv",
        "007_company_list_20161101_to_20171031.tsv",
        "008_company_list_20161201_to_20171130.tsv",
        "009_company_list_20170101_to_20171231.tsv",
        "010_company_list_20170201_to_20180131.tsv",
        "011_company_list_20170301_to_20180228.tsv",
        "012_company_list_20170401_to_20180331.tsv",
        "013_company_list_20170501_to_20180430.tsv",
        "014_company_list_20170601_to_20180531.tsv",
        "015_company_list_20170701_to_20180630.tsv",
        "016_company_list_20170801_to_20180731.tsv",
        "017_company_list_20170901_to_20180831.tsv",
        "018_company_list_20171001_to_20180930.tsv",
        "019_company_list_20171101_to_20181031.tsv",
        "020_company_list_20171201_to_20181130.tsv",
        "021_company_list_20180101_to_20181231.tsv",
        "022_company_list_20180201_to_20180131.tsv",
        "023_company_list_20180301_to_20180228.tsv",
        "024_company_list_20180401_to_20180331.tsv",
        "026_company_list_20180601_to_20180531.tsv",
        "027_company_list_20180701_to_20180630.tsv",
        "028_company_list_20180801_to_20180731.tsv",
    ]
);

/// The registers' schemas.
pub(super) const SCHEMAS: &[File] = files!(
    "../../schemas",
    "schemas",
    [
        "population/v1.avsc",
        "legal-person/v1.avsc",
        "credit-permit/v1.avsc",
        "credit-penalty/v1.avsc",
        "e-certificate/v1.avsc",
        "division/v1.avsc",
        "legal-entity/v1.avsc",
        "labour-penalty/v1.avsc",
    ]
);

/// The directory.
pub(super) const DIRECTORY: &[File] = files!("../../config", "config", ["directory.toml",]);

/// One connector for each source and sink.
pub(super) const CONNECTORS: &[File] = files!(
    "../../connectors",
    "connectors",
    [
        "bank-credit-penalty.toml",
        "bank-credit-permit.toml",
        "bank-labour-penalty.toml",
        "bank-legal-entity.toml",
        "bank-legal-person.toml",
        "bank-population.toml",
        "credit-penalty.toml",
        "credit-permit-cosmetics.toml",
        "credit-permit.toml",
        "division.toml",
        "hall-jiangbei-population.toml",
        "hall-yuzhong-division.toml",
        "hall-yuzhong-population.toml",
        "labour-penalty.toml",
        "legal-entity.toml",
        "legal-person-chongqing-csv.toml",
        "legal-person-chongqing-json.toml",
        "legal-person-chongqing-xls.toml",
        "legal-person.toml",
        "population.toml",
    ]
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use shuniu_model::identifier::{DivisionCode, Uscc};

    use super::*;
    use crate::demo::step::prepare::SYSTEMS;
    use crate::synth::authority_code;

    fn text(file: &File) -> toml::Table {
        std::str::from_utf8(file.content).unwrap().parse().unwrap()
    }

    fn list<'a>(table: &'a toml::Table, name: &str, key: &str) -> Vec<&'a str> {
        table[name].as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap()).collect()
    }

    #[test]
    fn the_directorys_organisations_are_made_up_and_valid() {
        let directory = text(&DIRECTORY[0]);
        for (place, organisation) in directory["organisation"].as_array().unwrap().iter().enumerate() {
            let (uscc, division) =
                (organisation["uscc"].as_str().unwrap(), organisation["division"].as_str().unwrap());
            DivisionCode::parse(division).unwrap();
            let made_up = authority_code(division, u16::try_from(place + 1).unwrap()).unwrap();
            assert_eq!(Uscc::parse(uscc).unwrap(), made_up);
        }
    }

    #[test]
    fn each_system_has_a_certificate_and_each_connector_a_system_with_the_right_to_it() {
        let directory = text(&DIRECTORY[0]);
        assert_eq!(list(&directory, "system", "id"), SYSTEMS);
        let publishers: BTreeSet<(&str, &str)> = list(&directory, "resource", "publishing_system")
            .into_iter()
            .zip(list(&directory, "resource", "name"))
            .collect();
        let readers: BTreeSet<(&str, &str)> = list(&directory, "grant", "system")
            .into_iter()
            .zip(list(&directory, "grant", "resource"))
            .collect();
        let mut sinks = 0;
        for file in CONNECTORS {
            let connector = text(file);
            let certificate = connector["hub"]["certificate"].as_str().unwrap();
            let system = certificate.trim_start_matches("../data/ca/systems/").trim_end_matches(".pem");
            match (connector.get("source"), connector.get("sink")) {
                (Some(source), None) => {
                    assert!(
                        publishers.contains(&(system, source["resource"].as_str().unwrap())),
                        "{}",
                        file.path
                    );
                }
                (None, Some(sink)) => {
                    assert!(readers.contains(&(system, sink["resource"].as_str().unwrap())), "{}", file.path);
                    sinks += 1;
                }
                _ => panic!("{} is neither source nor sink", file.path),
            }
        }
        assert_eq!(sinks, readers.len());
    }
}
