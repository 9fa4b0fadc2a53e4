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
        let bytes = value.as_bytes();
        match self {
            Self::Free => Ok(()),
            Self::CitizenId => CitizenId::check(bytes),
            Self::Uscc => Uscc::check(bytes),
            Self::OrganisationCode => OrganisationCode::check(bytes),
            Self::Division => DivisionCode::check(bytes),
            Self::CertificateId => CertificateId::check(bytes),
            Self::Ethnic => EthnicCode::check(bytes),
            Self::Sex => SexCode::check(bytes),
            Self::Marital => MaritalCode::check(bytes),
            Self::Lei => Lei::check(bytes),
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
