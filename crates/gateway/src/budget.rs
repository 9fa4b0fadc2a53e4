//! The memory that frames may take: of all clients, and of one system.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shares are counted in these.
const UNIT_BYTES: usize = 1 << 10;

/// What all frames may take together.
#[derive(Clone)]
pub(crate) struct WholeBudget(Arc<Pool>);

/// What one system's frames may take, within what all may take.
#[derive(Clone)]
pub(crate) struct Budget {
    whole: WholeBudget,
    own: Arc<Pool>,
}

/// A frame's part; given back when dropped.
pub(crate) struct Share {
    _own: Option<OwnedSemaphorePermit>,
    _whole: Option<OwnedSemaphorePermit>,
}

struct Pool {
    free: Arc<Semaphore>,
    units: u32,
}

impl Budget {
    pub(crate) fn of_all(bytes: usize) -> WholeBudget {
        WholeBudget(Arc::new(Pool::new(bytes)))
    }

    /// Waits for room. A system waits for its own first, so that it never keeps others' room while it waits.
    pub(crate) async fn take(&self, bytes: usize) -> Share {
        let own = self.own.take(bytes).await;
        Share { _own: own, _whole: self.whole.0.take(bytes).await }
    }
}

impl WholeBudget {
    pub(crate) fn of_one(&self, bytes: usize) -> Budget {
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
        // A frame larger than the pool takes all of it, instead of waiting for ever.
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units);
        Arc::clone(&self.free).acquire_many_owned(units).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn p10_one_systems_frames_cannot_take_all_memory() {
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
        let _four = timeout(SHORT, hall.take(1 << 30)).await.unwrap();
    }
}
