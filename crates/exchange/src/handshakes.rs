//! Connections whose caller is not known yet. They take no place of known callers, and no address can take all of theirs.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Few doors have fewer connections than this; each has so many handshakes at once.
const HANDSHAKES_MIN: usize = 16;

/// The handshakes of one door. Cloned freely; all clones count together.
#[derive(Clone)]
pub struct Handshakes {
    most: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next: u64,
    count: usize,
    /// By address, oldest first.
    under_way: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// One handshake under way; its place is free again when this is dropped.
pub struct Handshake {
    all: Handshakes,
    address: IpAddr,
    number: u64,
    crowded_out: CancellationToken,
}

impl Handshakes {
    /// Of a door with so many connections: a quarter as many handshakes, beside them.
    #[must_use]
    pub fn beside(connections_max: usize) -> Self {
        Self { most: (connections_max / 4).max(HANDSHAKES_MIN), state: Arc::default() }
    }

    /// Takes the place of a new handshake. When all are taken, the oldest one of the address that has most of them
    /// makes room.
    #[must_use]
    pub fn begin(&self, address: IpAddr) -> Handshake {
        let address = neighbourhood(address);
        let crowded_out = CancellationToken::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.count >= self.most {
            state.make_room();
        }
        let number = state.next;
        state.next += 1;
        state.count += 1;
        state.under_way.entry(address).or_default().insert(number, crowded_out.clone());
        Handshake { all: self.clone(), address, number, crowded_out }
    }
}

impl State {
    fn make_room(&mut self) {
        let crowd = self.under_way.iter().max_by_key(|(_, of)| of.len()).map(|(address, of)| {
            let oldest = of.first_key_value().map(|(number, _)| *number);
            (*address, oldest)
        });
        if let Some((address, Some(number))) = crowd
            && let Some(oldest) = self.remove(address, number)
        {
            oldest.cancel();
        }
    }

    fn remove(&mut self, address: IpAddr, number: u64) -> Option<CancellationToken> {
        let of = self.under_way.get_mut(&address)?;
        let removed = of.remove(&number)?;
        if of.is_empty() {
            self.under_way.remove(&address);
        }
        self.count = self.count.saturating_sub(1);
        Some(removed)
    }
}

impl Handshake {
    /// Resolves when it is given up for a newer one.
    pub async fn crowded_out(&self) {
        self.crowded_out.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut state = self.all.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remove(self.address, self.number);
    }
}

/// What one machine can call from: an IPv4 address, or the 64 bits of an IPv6 network.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_out(handshake: &Handshake) -> bool {
        handshake.crowded_out.is_cancelled()
    }

    #[test]
    fn p10_the_oldest_handshake_of_the_address_with_most_makes_room() {
        let all = Handshakes::beside(0);
        let address = |text: &str| text.parse().unwrap();
        let good = all.begin(address("10.0.0.1"));
        let crowd: Vec<_> = (0..40).map(|host| all.begin(address(&format!("2001:db8::{host}")))).collect();
        let another = all.begin(address("10.0.0.2"));
        assert!(!is_out(&good) && !is_out(&another));
        assert_eq!(crowd.iter().filter(|handshake| !is_out(handshake)).count(), HANDSHAKES_MIN - 2);
        assert!(!is_out(crowd.last().unwrap()));
        drop((crowd, good, another));
        let state = all.state.lock().unwrap();
        assert_eq!((state.count, state.under_way.len()), (0, 0));
    }
}
