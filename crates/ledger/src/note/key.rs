//! Keys of signed notes, as text: `<name>+<id>+<key>`, and with `PRIVATE+KEY+` before it for the signer's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use sm2::dsa::signature::Verifier as _;

use crate::Suite;

/// C2SP's type byte for Ed25519.
const ED25519: &[u8] = &[0x01];
/// C2SP's type byte for what it does not list, and the identifier that it asks for then.
const SM2: &[u8] = b"\xffsm2-with-sm3";
/// The signer's distinguishing identifier: GB/T 35276's default.
const SM2_SIGNER: &str = "1234567812345678";

/// A text that is no key, or no key of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the form of a key.
    #[error("not the text of a note's key")]
    Malformed,
    /// An algorithm that the hub does not have.
    #[error("a key of an algorithm other than Ed25519 and SM2")]
    Algorithm,
    /// The id is not that of the name and key.
    #[error("the key's id does not fit its name and key")]
    Id,
    /// Names are without spaces and pluses.
    #[error("a key's name has neither spaces nor `+`")]
    Name,
}

/// A public key with its name.
#[derive(Debug, Clone)]
pub struct NoteVerifier {
    name: String,
    key: PublicKey,
}

#[derive(Debug, Clone)]
enum PublicKey {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    Sm2(Box<sm2::dsa::VerifyingKey>),
}

impl NoteVerifier {
    /// Reads the key's text.
    ///
    /// # Errors
    /// Says what it is not.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, key) = fields(text)?;
        let key = match (key.strip_prefix(ED25519), key.strip_prefix(SM2)) {
            (Some(key), _) => {
                let key = key.try_into().map_err(|_| KeyError::Malformed)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| KeyError::Malformed)?;
                PublicKey::Ed25519(Box::new(key))
            }
            (_, Some(key)) => {
                let key = sm2::dsa::VerifyingKey::from_sec1_bytes(SM2_SIGNER, key);
                PublicKey::Sm2(Box::new(key.map_err(|_| KeyError::Malformed)?))
            }
            (None, None) => return Err(KeyError::Algorithm),
        };
        let verifier = Self { name: name.to_owned(), key };
        if verifier.key_id() == id { Ok(verifier) } else { Err(KeyError::Id) }
    }

    /// The signer's name; a log's is its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The suite that the key is of.
    #[must_use]
    pub fn suite(&self) -> Suite {
        match self.key {
            PublicKey::Ed25519(_) => Suite::Sha256Ed25519,
            PublicKey::Sm2(_) => Suite::Sm3Sm2,
        }
    }

    /// The key's id: the first four bytes of the digest of name, newline and key, by the suite's own hash.
    #[must_use]
    pub fn key_id(&self) -> [u8; 4] {
        let digest = self.suite().hash(&[self.name.as_bytes(), b"\n", &self.bytes()]);
        let [a, b, c, d, ..] = digest.0;
        [a, b, c, d]
    }

    /// Whether the signature is of that text by this key.
    #[must_use]
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            PublicKey::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(text, &signature).is_ok()),
            PublicKey::Sm2(key) => sm2::dsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match &self.key {
            PublicKey::Ed25519(key) => [ED25519, key.as_bytes()].concat(),
            PublicKey::Sm2(key) => [SM2, &key.to_sec1_bytes()].concat(),
        }
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex::encode(self.key_id()), STANDARD.encode(self.bytes()))
    }
}

/// A private key with its name. Shown it is its name alone.
pub struct NoteSigner {
    verifier: NoteVerifier,
    key: PrivateKey,
}

enum PrivateKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Sm2(Box<sm2::dsa::SigningKey>),
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoteSigner").field("name", &self.verifier.name).finish_non_exhaustive()
    }
}

impl NoteSigner {
    /// The key of that suite made of 32 random bytes.
    ///
    /// # Errors
    /// When the name is none, or (once in 2^32) when the bytes are no SM2 key: then take others.
    pub fn new(suite: Suite, name: &str, secret: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        let (key, public) = match suite {
            Suite::Sha256Ed25519 => {
                let key = Box::new(ed25519_dalek::SigningKey::from_bytes(secret));
                let public = PublicKey::Ed25519(Box::new(key.verifying_key()));
                (PrivateKey::Ed25519(key), public)
            }
            Suite::Sm3Sm2 => {
                let key =
                    sm2::dsa::SigningKey::from_slice(SM2_SIGNER, secret).map_err(|_| KeyError::Malformed)?;
                let public = PublicKey::Sm2(Box::new(key.verifying_key().clone()));
                (PrivateKey::Sm2(Box::new(key)), public)
            }
        };
        Ok(Self { verifier: NoteVerifier { name: name.to_owned(), key: public }, key })
    }

    /// Reads the private key's text.
    ///
    /// # Errors
    /// Says what it is not.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix("PRIVATE+KEY+").ok_or(KeyError::Malformed)?;
        let (name, id, key) = fields(text)?;
        let (suite, secret) = match (key.strip_prefix(ED25519), key.strip_prefix(SM2)) {
            (Some(secret), _) => (Suite::Sha256Ed25519, secret),
            (_, Some(secret)) => (Suite::Sm3Sm2, secret),
            (None, None) => return Err(KeyError::Algorithm),
        };
        let secret = secret.try_into().map_err(|_| KeyError::Malformed)?;
        let signer = Self::new(suite, name, secret)?;
        if signer.verifier.key_id() == id { Ok(signer) } else { Err(KeyError::Id) }
    }

    /// The private key's text, to be kept in a file that only the hub reads.
    #[must_use]
    pub fn private_text(&self) -> String {
        let bytes = match &self.key {
            PrivateKey::Ed25519(key) => [ED25519, key.as_bytes()].concat(),
            PrivateKey::Sm2(key) => [SM2, key.to_bytes().as_slice()].concat(),
        };
        let id = hex::encode(self.verifier.key_id());
        format!("PRIVATE+KEY+{}+{id}+{}", self.verifier.name, STANDARD.encode(bytes))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// The signature of a text. Deterministic.
    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        match &self.key {
            PrivateKey::Ed25519(key) => key.sign(text).to_bytes().to_vec(),
            PrivateKey::Sm2(key) => {
                let signature: sm2::dsa::Signature = key.sign(text);
                signature.to_bytes().to_vec()
            }
        }
    }
}

/// Name, id and key bytes of a key's text.
fn fields(text: &str) -> Result<(&str, [u8; 4], Vec<u8>), KeyError> {
    let mut fields = text.trim_end().splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(KeyError::Malformed);
    };
    if !is_name(name) {
        return Err(KeyError::Name);
    }
    let mut bytes = [0; 4];
    hex::decode_to_slice(id, &mut bytes).map_err(|_| KeyError::Malformed)?;
    let key = STANDARD.decode(key).map_err(|_| KeyError::Malformed)?;
    Ok((name, bytes, key))
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}
