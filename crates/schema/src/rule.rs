//! Rules on text: the logical types of this project.

use shuniu_model::identifier::{
    CertificateId, CitizenId, DivisionCode, EthnicCode, InvalidIdentifier, Lei, MaritalCode,
    OrganisationCode, SexCode, Uscc,
};

/// What a string must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextRule {
    /// Any text.
    Free,
    CitizenId,
    Uscc,
    OrganisationCode,
    Division,
    CertificateId,
    Ethnic,
    Sex,
    Marital,
    Lei,
    Uuid,
}

impl TextRule {
    /// The logical types on `string`, by name.
    pub(crate) const NAMED: [(&'static str, Self); 10] = [
        ("citizen-id", Self::CitizenId),
        ("uscc", Self::Uscc),
        ("organisation-code", Self::OrganisationCode),
        ("division", Self::Division),
        ("certificate-id", Self::CertificateId),
        ("ethnic", Self::Ethnic),
        ("sex", Self::Sex),
        ("marital", Self::Marital),
        ("lei", Self::Lei),
        ("uuid", Self::Uuid),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, rule)| rule)
    }

    pub(crate) fn check(self, value: &str) -> Result<(), InvalidIdentifier> {
        match self {
            Self::Free => Ok(()),
            Self::CitizenId => CitizenId::parse(value).map(drop),
            Self::Uscc => Uscc::parse(value).map(drop),
            Self::OrganisationCode => OrganisationCode::parse(value).map(drop),
            Self::Division => DivisionCode::parse(value).map(drop),
            Self::CertificateId => CertificateId::parse(value).map(drop),
            Self::Ethnic => EthnicCode::parse(value).map(drop),
            Self::Sex => SexCode::parse(value).map(drop),
            Self::Marital => MaritalCode::parse(value).map(drop),
            Self::Lei => Lei::parse(value).map(drop),
            Self::Uuid if is_uuid(value) => Ok(()),
            Self::Uuid => Err(InvalidIdentifier { kind: "UUID", rule: "8-4-4-4-12 hexadecimal digits" }),
        }
    }
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
