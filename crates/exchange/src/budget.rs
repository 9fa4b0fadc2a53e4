//! The memory that requests or answers may take: of all clients, and of one system.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shares are counted in these.
const UNIT_BYTES: usize = 1 << 10;

/// What all may take together.
#[derive(Clone)]
pub struct WholeBudget(Arc<Pool>);

/// What one system may take, within what all may take.
#[derive(Clone)]
pub struct Budget {
    whole: WholeBudget,
    own: Arc<Pool>,
}

/// A part of it; given back when dropped.
pub struct Share {
    own: Option<OwnedSemaphorePermit>,
    whole: Option<OwnedSemaphorePermit>,
}

struct Pool {
    free: Arc<Semaphore>,
    units: u32,
}

impl Budget {
    /// For all together.
    #[must_use]
    pub fn of_all(bytes: usize) -> WholeBudget {
        WholeBudget(Arc::new(Pool::new(bytes)))
    }

    /// Waits for room. A system waits for its own first, so that it never keeps others' room while it waits.
    pub async fn take(&self, bytes: usize) -> Share {
        let bytes = self.own.at_most(bytes);
        let own = self.own.take(bytes).await;
        Share { own, whole: self.whole.0.take(bytes).await }
    }

    /// A share if there is room now.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Share> {
        let bytes = self.own.at_most(bytes);
        let own = self.own.try_take(bytes)?;
        Some(Share { own: Some(own), whole: Some(self.whole.0.try_take(bytes)?) })
    }

    /// Whether there is room for so much now in what all may take.
    pub(crate) fn has_room_of_all(&self, bytes: usize) -> bool {
        let whole = &self.whole.0;
        whole.free.available_permits()
            >= usize::try_from(whole.units_of(self.own.at_most(bytes))).unwrap_or(usize::MAX)
    }

    /// Whether nobody else holds on to this.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.own) == 1
    }
}

impl Share {
    /// Gives back what is over `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let units = bytes.div_ceil(UNIT_BYTES);
        for permit in [&mut self.own, &mut self.whole].into_iter().flatten() {
            drop(permit.split(permit.num_permits().saturating_sub(units)));
        }
    }
}

impl WholeBudget {
    /// A share for nobody's answer, if there is room now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Share> {
        Some(Share { own: None, whole: Some(self.0.try_take(bytes)?) })
    }

    /// For one system of them.
    #[must_use]
    pub fn of_one(&self, bytes: usize) -> Budget {
        Budget { whole: self.clone(), own: Arc::new(Pool::new(bytes)) }
    }
}

impl Pool {
    fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        // A semaphore has room for more than 2^32 units only where usize does; this many are as good as any.
        let held = usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(held)), units }
    }

    /// `None` never happens: the semaphore is not closed while it is held here.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_many_owned(self.units_of(bytes)).await.ok()
    }

    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_many_owned(self.units_of(bytes)).ok()
    }

    /// What is larger than the pool takes all of it, instead of waiting for ever, and of the whole no more.
    fn at_most(&self, bytes: usize) -> usize {
        bytes.min(usize::try_from(self.units).unwrap_or(usize::MAX).saturating_mul(UNIT_BYTES))
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn p10_one_system_cannot_take_all_memory() {
        let all = Budget::of_all(100 << 10);
        let (hall, bank) = (all.of_one(60 << 10), all.of_one(60 << 10));
        let one = hall.take(50 << 10).await;
        assert!(timeout(SHORT, hall.take(20 << 10)).await.is_err());
        let two = timeout(SHORT, bank.take(50 << 10)).await.unwrap();
        assert!(timeout(SHORT, bank.take(1 << 10)).await.is_err(), "together they are at their bound");
        drop(one);
        let three = timeout(SHORT, bank.take(10 << 10)).await.unwrap();
        drop((two, three));
        // More than there is takes all there is.
        let mut four = timeout(SHORT, hall.take(1 << 30)).await.unwrap();
        assert!(hall.try_take(1).is_none() && bank.try_take(60 << 10).is_none());
        assert!(bank.try_take(40 << 10).is_some());
        four.shrink(10 << 10);
        assert!(bank.try_take(60 << 10).is_some() && hall.try_take(50 << 10).is_some());
        assert!(hall.try_take(51 << 10).is_none());
    }
}
