//! Checkpoints: a tree's head as text (C2SP tlog-checkpoint).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note::{Note, NoteError, NoteSigner, NoteVerifier};
use crate::{Hash, Suite};

/// A tree's head: what a signed checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; its last segment names the suite.
    pub origin: String,
    /// Leaves in the tree.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
}

/// Why a checkpoint is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// No signed note, or none by the log's key.
    #[error("the checkpoint's signature does not hold")]
    Note(#[from] NoteError),
    /// A note, but not of a checkpoint.
    #[error("the checkpoint's {line} is malformed")]
    Malformed {
        /// Which line.
        line: &'static str,
    },
    /// Another log's.
    #[error("the checkpoint is of `{found}`, not of `{expected}`")]
    Origin {
        /// The key's.
        expected: String,
        /// The checkpoint's.
        found: String,
    },
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// The signed note.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn signed(&self, signer: &NoteSigner) -> Result<String, NoteError> {
        Ok(Note::signed(&self.text(), signer)?.to_string())
    }

    /// The checkpoint of a note that the log's own key has signed; other signatures (witnesses) are ignored.
    ///
    /// # Errors
    /// When it is no checkpoint of that log, or not signed by it.
    pub fn verified(note: &str, key: &NoteVerifier) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        note.verify(key)?;
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin == key.name() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Origin { expected: key.name().to_owned(), found: checkpoint.origin })
        }
    }

    /// The log's suite.
    #[must_use]
    pub fn suite(&self) -> Option<Suite> {
        Suite::of_origin(&self.origin)
    }

    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = |line| CheckpointError::Malformed { line };
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(malformed("origin"))?;
        let size_text = lines.next().unwrap_or_default();
        let size: u64 = size_text.parse().map_err(|_| malformed("size"))?;
        let root_text = lines.next().unwrap_or_default();
        let root = STANDARD.decode(root_text).ok().and_then(|bytes| bytes.try_into().ok());
        let root = Hash(root.ok_or(malformed("root"))?);
        // One number has one form. Extension lines may follow; this log writes none and relies on none.
        if size.to_string() != size_text || lines.next_back() != Some("") {
            return Err(malformed("size"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}
