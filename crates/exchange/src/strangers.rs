//! Connections that are refused before anybody is known, in the hub's own log: whoever calls a thousand times a second must not fill it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handshakes::neighbourhood;

/// How long refusals of one address are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Reasons of one address that are told apart in a window, each in a line: a technician who tries several things sees the
/// answer to each.
const REASONS_MAX: usize = 16;
/// Addresses that are told apart in a window.
const ADDRESSES_MAX: usize = 256;

/// The refused connections of one door. Cloned freely; all clones count together.
#[derive(Clone, Default)]
pub struct Strangers(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    since: Option<Instant>,
    /// `None` stands for addresses beyond those that are told apart.
    refused: HashMap<Option<IpAddr>, OfAddress>,
}

#[derive(Default)]
struct OfAddress {
    /// Those that had their line.
    told: HashSet<String>,
    untold: u64,
}

impl Strangers {
    /// Counts a refused connection. Whether it gets a line of its own: the first of an address and a reason does.
    #[must_use]
    pub fn note(&self, address: IpAddr, reason: &str) -> bool {
        self.note_at(address, reason, Instant::now())
    }

    fn note_at(&self, address: IpAddr, reason: &str, now: Instant) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(*counted.since.get_or_insert(now)) >= WINDOW {
            tell(counted.over());
            counted.since = Some(now);
        }
        let address = Some(neighbourhood(address));
        let room = counted.refused.len() < ADDRESSES_MAX || counted.refused.contains_key(&address);
        let refused = counted.refused.entry(if room { address } else { None }).or_default();
        let is_new = refused.told.len() < REASONS_MAX && refused.told.insert(reason.to_owned());
        refused.untold += u64::from(!is_new);
        is_new
    }

    /// Tells at the end of each window how many had no line of their own, until cancelled.
    pub async fn tell(self, cancel: CancellationToken) {
        let mut ends = false;
        while !ends {
            ends = tokio::select! {
                () = cancel.cancelled() => true,
                () = tokio::time::sleep(WINDOW) => false,
            };
            tell(self.0.lock().unwrap_or_else(PoisonError::into_inner).over());
        }
    }
}

impl Counted {
    /// Begins a new window; those that had no line of their own in the last one.
    fn over(&mut self) -> Vec<(Option<IpAddr>, u64)> {
        self.since = None;
        let over = std::mem::take(&mut self.refused).into_iter().map(|(address, it)| (address, it.untold));
        over.filter(|(_, untold)| *untold > 0).collect()
    }
}

fn tell(over: Vec<(Option<IpAddr>, u64)>) {
    for (address, count) in over {
        match address {
            Some(address) => tracing::info!(%address, count, "more connections were refused"),
            None => tracing::info!(count, "more connections of many addresses were refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_flood_of_strangers_has_some_lines_and_a_count() {
        let strangers = Strangers::default();
        let address = |host: u32| IpAddr::from(host.to_be_bytes());
        let lines = (0..1_000).filter(|_| strangers.note(address(1), "no TLS")).count();
        assert_eq!(lines, 1);
        assert!(strangers.note(address(1), "no certificate"), "another reason is heard");
        let lines = (0..1_000).filter(|n| strangers.note(address(1), &n.to_string())).count();
        assert_eq!(lines, REASONS_MAX - 2, "invented ones are not");
        assert!(strangers.note(address(2), "no TLS"), "another address is heard");
        let lines = (3..10_000).filter(|host| strangers.note(address(*host), "no TLS")).count();
        assert_eq!(lines, ADDRESSES_MAX - 2 + 1);
        let mut over = strangers.0.lock().unwrap().over();
        over.sort_unstable();
        let beyond = 10_000 - 3 - (ADDRESSES_MAX as u64 - 2) - 1;
        assert_eq!(over, [(None, beyond), (Some(address(1)), 2_000 - REASONS_MAX as u64 + 1)]);
        assert!(strangers.note(address(1), "no TLS"), "a new window");
        // Nobody has to tell for the next window to begin.
        assert!(!strangers.note(address(1), "no TLS"));
        assert!(strangers.note_at(address(1), "no TLS", Instant::now() + WINDOW));
    }
}
