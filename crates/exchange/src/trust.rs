//! Whose certificates are believed. That may change while connections are open.

use std::sync::Arc;

use shuniu_model::Timestamp;
use tokio::sync::watch;

/// Looks at a system's certificate again, as its handshake did.
pub trait Trust: Send + Sync {
    /// Whether the first of these certificates (DER), with what its client sent along behind it, is of an authority that
    /// is trusted now.
    fn believes(&self, chain: &[Vec<u8>], now: Timestamp) -> bool;
}

/// The trust in force, followed.
pub type Trusted = watch::Receiver<Arc<dyn Trust>>;

/// Resolves when something else is in force; never once that can no longer be.
pub(crate) async fn changed<T>(followed: &mut watch::Receiver<T>) {
    if followed.changed().await.is_err() {
        // The hub is shutting down, and the doors close by themselves.
        std::future::pending::<()>().await;
    }
}
