//! Signed notes (C2SP signed-note): a text, and under it who signed it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

mod key;

pub use key::{KeyError, NoteSigner, NoteVerifier};

const NOTE_BYTES_MAX: usize = 1_000_000;
const SIGNATURES_MAX: usize = 100;

/// A signed note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The signer's name.
    pub name: String,
    /// The first four bytes of the key's digest.
    pub key_id: [u8; 4],
    /// The signature itself.
    pub signature: Vec<u8>,
}

/// Why a note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a signed note.
    #[error("not a signed note: {rule}")]
    Malformed {
        /// What the form asks for.
        rule: &'static str,
    },
    /// The key's name and id stand on none of its lines.
    #[error(
        "the key is not the one that signed: it is of another log, or replaced since (`{name}` is not among the signatures)"
    )]
    Unsigned {
        /// Whose signature is missed.
        name: String,
    },
    /// The key's signature is wrong.
    #[error("the signature of `{name}` is not of this text")]
    WrongSignature {
        /// Whose signature it claims to be.
        name: String,
    },
    /// The text is not one that can be signed.
    #[error("cannot sign: {rule}")]
    Unsignable {
        /// What the form asks for.
        rule: &'static str,
    },
}

impl Note {
    /// A text with one signature under it. The text ends in a newline.
    ///
    /// # Errors
    /// When the text has not the form of a note's.
    pub fn signed(text: &str, signer: &NoteSigner) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::Unsignable { rule: "a note's text is lines without control characters" });
        }
        let signature = signer.sign(text.as_bytes());
        let verifier = signer.verifier();
        let signature =
            NoteSignature { name: verifier.name().to_owned(), key_id: verifier.key_id(), signature };
        Ok(Self { text: text.to_owned(), signatures: vec![signature] })
    }

    /// Reads a note. Nothing is verified yet.
    ///
    /// # Errors
    /// When it has not a note's form.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let malformed = |rule| NoteError::Malformed { rule };
        if note.len() > NOTE_BYTES_MAX || note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(malformed("at most a megabyte, no control characters"));
        }
        // The last empty line: the text may hold some of its own.
        let (text, lines) =
            note.rsplit_once("\n\n").ok_or(malformed("an empty line before the signatures"))?;
        let lines = lines.strip_suffix('\n').ok_or(malformed("a newline at the end"))?;
        let signatures = lines
            .split('\n')
            .map(|line| {
                let (name, data) = line
                    .strip_prefix("— ")
                    .and_then(|line| line.split_once(' '))
                    .ok_or(malformed("a dash, a name and a signature on each line"))?;
                let data = STANDARD.decode(data).map_err(|_| malformed("signatures in base64"))?;
                let (key_id, signature) = data
                    .split_first_chunk::<4>()
                    .ok_or(malformed("a key id of four bytes in each signature"))?;
                if !key::is_name(name) || signature.is_empty() {
                    return Err(malformed("a dash, a name and a signature on each line"));
                }
                Ok(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(malformed("at most 100 signatures"));
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Checks that a key has signed the note.
    ///
    /// # Errors
    /// When it has not, or its signature is of another text.
    pub fn verify(&self, key: &NoteVerifier) -> Result<(), NoteError> {
        let mut own = self
            .signatures
            .iter()
            .filter(|signature| signature.name == key.name() && signature.key_id == key.key_id())
            .peekable();
        if own.peek().is_none() {
            return Err(NoteError::Unsigned { name: key.name().to_owned() });
        }
        if own.all(|signature| key.verify(self.text.as_bytes(), &signature.signature)) {
            Ok(())
        } else {
            Err(NoteError::WrongSignature { name: key.name().to_owned() })
        }
    }

    /// The text that is signed, with its newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Who signed it, as it says.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let data = [signature.key_id.as_slice(), &signature.signature].concat();
            writeln!(f, "— {} {}", signature.name, STANDARD.encode(data))?;
        }
        Ok(())
    }
}
