//! What the service manager is told (`sd_notify(3)`). Where the hub was not started by one, nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The doors are open.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A configuration is being taken over; [`ready`] ends that.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be told of a reload"),
    }
}

/// The hub is about to close.
pub(crate) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Shows that the hub's tasks go on, twice in the time after which the service manager would start it again
/// (`WatchdogSec`). Being not ready is no reason to: a hub whose database is away is cured by the database.
pub(crate) async fn watched(cancel: CancellationToken) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let pause = (patience / 2).max(Duration::from_millis(1));
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how the hub is");
    }
}
