//! Check digits agree with a reference implementation of the standards that shares no code with this crate.

use shuniu_model::identifier::{CertificateId, CitizenId, InvalidIdentifier, Lei, OrganisationCode, Uscc};

type Check = fn(&[u8]) -> Result<(), InvalidIdentifier>;

const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn check_of(kind: &str) -> Check {
    match kind {
        "i" => CitizenId::check,
        "u" => Uscc::check,
        "o" => OrganisationCode::check,
        _ => CertificateId::check,
    }
}

#[test]
fn ten_thousand_check_characters_agree_with_the_reference() {
    let mut held = 0;
    for line in include_str!("data/check-digits.txt").lines().filter(|line| !line.starts_with('#')) {
        let [kind, body, check] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let separator = if kind == "c" { "." } else { "" };
        // Exactly one character of all fits.
        let fitting: String = ALPHABET
            .chars()
            .filter(|last| check_of(kind)(format!("{body}{separator}{last}").as_bytes()).is_ok())
            .collect();
        assert_eq!(fitting, check, "{kind} {body}");
        held += 1;
    }
    assert_eq!(held, 10_000);
}

#[test]
fn published_numbers_hold_as_the_reference_says() {
    for good in ["11010519491231002X", "440524188001010014"] {
        assert!(CitizenId::parse(good).is_ok(), "{good}");
    }
    for good in [
        "91320105780688132K",
        "11100000000013338W",
        "11110000000021135M",
        "11430000006122244L",
        "91370406L24894136J",
        "11100000MB03271699",
        "11330105002500287C",
        "91230500MA1B3N1N2M",
        "11230500001755309F",
        "11100000MB0143028R",
        "11100000000013127D",
        "91350100M000100Y43",
        "11100000000013661B",
        "11370800MB28559184",
        "91110108551385082Q",
    ] {
        assert!(Uscc::parse(good).is_ok(), "{good}");
        assert!(OrganisationCode::parse(good.get(8..17).unwrap()).is_ok(), "{good}");
    }
    for (id, fits) in [
        ("1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U", true),
        // As published, and wrong there: the reference computes D.
        (
            "1.2.156.3005.2.11100000000013661B006.113700000045046442.209FA4E88F9E4C878F3E9BED2CE7EA49.001.M",
            false,
        ),
        (
            "1.2.156.3005.2.11100000000013661B006.113700000045046442.209FA4E88F9E4C878F3E9BED2CE7EA49.001.D",
            true,
        ),
        ("1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9", true),
        ("1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.0", true),
    ] {
        assert_eq!(CertificateId::parse(id).is_ok(), fits, "{id}");
    }
    assert!(Lei::parse("5493001KJTIIGC8Y1R12").is_ok());
}

#[test]
fn parse_and_check_agree_on_anything() {
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&proptest::string::string_regex("[0-9A-Zx. ]{0,40}|\\PC{0,24}").unwrap(), |text| {
            assert_eq!(CitizenId::parse(&text).map(drop), CitizenId::check(text.as_bytes()));
            assert_eq!(Uscc::parse(&text).map(drop), Uscc::check(text.as_bytes()));
            assert_eq!(CertificateId::parse(&text).map(drop), CertificateId::check(text.as_bytes()));
            assert_eq!(Lei::parse(&text).map(drop), Lei::check(text.as_bytes()));
            Ok(())
        })
        .unwrap();
}
