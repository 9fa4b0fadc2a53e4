//! What may be moved in a time: by a grant over all connections of its system, by a system that publishes, and by one
//! that asks for schemas.
//!
//! A leaky bucket each: what was moved runs out at the limit's rate, and while it stands at the brim nothing more is
//! moved. The bucket may be overfilled by the last answer, and the next one waits for longer: over time the limit
//! holds exactly. Each replica keeps its own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shuniu_model::{Grant, GrantId, SystemId, Timestamp};

/// Answers and requests for schemas may come in bursts of this much: a consumer that catches up, a service that starts.
const BURST_SECONDS: u64 = 60;
/// Records and bytes of a grant are what its provider agreed to.
const BURST_SECONDS_AGREED: u64 = 1;
/// What searches for batches that a system's producers repeat may read; a minute's worth may come at once.
const SEARCHED_BYTES_PER_SECOND: u64 = 4 << 20;
/// However little a fetch of them finds, it counts as this.
const SEARCHED_BYTES_MIN: u64 = 64 << 10;
/// A publishing system's bytes: what comes at once is bounded by the memory for requests besides.
const BURST_SECONDS_PUBLISHED: u64 = 1;
/// One answer tells no more, whatever the debt: a client may wait half a minute for its next one and give up.
const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(10);
/// Buckets kept; over that those that nobody used for an hour go.
const KEPT_MAX: usize = 10_000;
const UNUSED_MICROS: i64 = 3_600_000_000;
/// Buckets are counted in these, so that nothing is lost between two looks.
const PARTS: u128 = 1_000_000;

/// What one grant may move at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Limiter {
    deliveries_per_second: AtomicU64,
    registry_per_second: AtomicU64,
    published_bytes_per_second: AtomicU64,
    grants: Mutex<HashMap<GrantId, Moved>>,
    systems: Mutex<HashMap<SystemId, Bucket>>,
    searches: Mutex<HashMap<SystemId, Bucket>>,
    publishers: Mutex<HashMap<SystemId, Bucket>>,
}

/// What every grant and every system may move in a second, whatever its grant says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PerSecond {
    pub(crate) deliveries: u64,
    pub(crate) registry_requests: u64,
    pub(crate) published_bytes: u64,
}

/// What a grant moved.
#[derive(Debug, Clone, Copy)]
struct Moved {
    records: Bucket,
    bytes: Bucket,
    deliveries: Bucket,
}

impl Limiter {
    pub(crate) fn new(per_second: PerSecond) -> Self {
        Self {
            deliveries_per_second: AtomicU64::new(per_second.deliveries),
            registry_per_second: AtomicU64::new(per_second.registry_requests),
            published_bytes_per_second: AtomicU64::new(per_second.published_bytes),
            grants: Mutex::default(),
            systems: Mutex::default(),
            searches: Mutex::default(),
            publishers: Mutex::default(),
        }
    }

    /// Other limits from here on; what was moved counts against them.
    pub(crate) fn adjust(&self, per_second: PerSecond) {
        self.deliveries_per_second.store(per_second.deliveries, Ordering::Relaxed);
        self.registry_per_second.store(per_second.registry_requests, Ordering::Relaxed);
        self.published_bytes_per_second.store(per_second.published_bytes, Ordering::Relaxed);
    }

    fn deliveries(&self) -> Rate {
        Rate::new(self.deliveries_per_second.load(Ordering::Relaxed), BURST_SECONDS)
    }

    /// What may be moved under a grant now, or how long that is nothing.
    pub(crate) fn allowance(&self, grant: &Grant, now: Timestamp) -> Result<Allowance, Duration> {
        let (records, bytes) = agreed(grant);
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(moved) = grants.get_mut(&grant.id) else {
            return Ok(Allowance { records: records.room(), bytes: bytes.room() });
        };
        let waits = [
            moved.deliveries.wait(self.deliveries(), now),
            moved.records.wait(records, now),
            moved.bytes.wait(bytes, now),
        ];
        match waits.into_iter().flatten().max() {
            Some(wait) => Err(wait),
            None => Ok(Allowance { records: moved.records.left(records), bytes: moved.bytes.left(bytes) }),
        }
    }

    /// Notes an answer with records under a grant.
    pub(crate) fn moved(&self, grant: &Grant, records: u64, bytes: u64, now: Timestamp) {
        let (records_rate, bytes_rate) = agreed(grant);
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        prune(&mut grants, now, |moved| moved.deliveries);
        let empty = Bucket::empty(now);
        let moved = grants.entry(grant.id.clone()).or_insert(Moved {
            records: empty,
            bytes: empty,
            deliveries: empty,
        });
        moved.deliveries.fill(1, self.deliveries(), now);
        moved.records.fill(records, records_rate, now);
        moved.bytes.fill(bytes, bytes_rate, now);
    }

    /// Notes what a system sends to be published, good or not; how long it is to send nothing more.
    pub(crate) fn published(&self, system: &SystemId, bytes: u64, now: Timestamp) -> Duration {
        let mut publishers = self.publishers.lock().unwrap_or_else(PoisonError::into_inner);
        prune(&mut publishers, now, |bucket| *bucket);
        let bucket = publishers.entry(system.clone()).or_insert(Bucket::empty(now));
        let rate =
            Rate::new(self.published_bytes_per_second.load(Ordering::Relaxed), BURST_SECONDS_PUBLISHED);
        bucket.fill(bytes, rate, now);
        bucket.wait(rate, now).unwrap_or_default().min(PUBLISH_WAIT_MAX)
    }

    /// Notes that a system asks for schemas, or says how long it may not.
    pub(crate) fn asked(&self, system: &SystemId, now: Timestamp) -> Result<(), Duration> {
        let mut systems = self.systems.lock().unwrap_or_else(PoisonError::into_inner);
        prune(&mut systems, now, |bucket| *bucket);
        let bucket = systems.entry(system.clone()).or_insert(Bucket::empty(now));
        let registry = Rate::new(self.registry_per_second.load(Ordering::Relaxed), BURST_SECONDS);
        if let Some(wait) = bucket.wait(registry, now) {
            return Err(wait);
        }
        bucket.fill(1, registry, now);
        Ok(())
    }

    /// Whether batches may be looked for on behalf of a system now.
    pub(crate) fn may_search(&self, system: &SystemId, now: Timestamp) -> bool {
        let mut searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        searches.get_mut(system).is_none_or(|bucket| bucket.wait(searching(), now).is_none())
    }

    /// Notes what one fetch of such a search has found.
    pub(crate) fn searched(&self, system: &SystemId, bytes: usize, now: Timestamp) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(SEARCHED_BYTES_MIN);
        let mut searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        prune(&mut searches, now, |bucket| *bucket);
        searches.entry(system.clone()).or_insert(Bucket::empty(now)).fill(bytes, searching(), now);
    }
}

fn searching() -> Rate {
    Rate::new(SEARCHED_BYTES_PER_SECOND, BURST_SECONDS)
}

/// The limits that a grant names; none is a rate that nothing reaches.
fn agreed(grant: &Grant) -> (Rate, Rate) {
    let rate = |limit: Option<u64>| Rate::new(limit.unwrap_or(u64::MAX), BURST_SECONDS_AGREED);
    (rate(grant.limits.records_per_second), rate(grant.limits.bytes_per_second))
}

fn prune<K: Eq + Hash, V>(buckets: &mut HashMap<K, V>, now: Timestamp, of: impl Fn(&V) -> Bucket) {
    if buckets.len() >= KEPT_MAX {
        buckets.retain(|_, it| now.as_micros().saturating_sub(of(it).at.as_micros()) < UNUSED_MICROS);
    }
}

/// How fast a bucket runs out, and how much it holds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: u64,
    burst_seconds: u64,
}

impl Rate {
    fn new(per_second: u64, burst_seconds: u64) -> Self {
        Self { per_second: per_second.max(1), burst_seconds }
    }

    fn room(self) -> u64 {
        self.per_second.saturating_mul(self.burst_seconds)
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Millionths of what is counted.
    level: u128,
    at: Timestamp,
}

impl Bucket {
    fn empty(at: Timestamp) -> Self {
        Self { level: 0, at }
    }

    fn run_out(&mut self, rate: Rate, now: Timestamp) {
        // A clock that was set back gives nothing and takes nothing.
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        let ran_out = u128::try_from(micros).unwrap_or(0).saturating_mul(u128::from(rate.per_second));
        self.level = self.level.saturating_sub(ran_out);
        self.at = now;
    }

    fn fill(&mut self, count: u64, rate: Rate, now: Timestamp) {
        self.run_out(rate, now);
        self.level = self.level.saturating_add(u128::from(count) * PARTS);
    }

    /// How long until there is room again; `None` while there is some.
    fn wait(&mut self, rate: Rate, now: Timestamp) -> Option<Duration> {
        self.run_out(rate, now);
        let over = self.level.checked_sub(u128::from(rate.room()) * PARTS)?;
        let micros = over / u128::from(rate.per_second) + 1;
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// What there is room for; call it after [`Self::wait`].
    fn left(self, rate: Rate) -> u64 {
        let left = (u128::from(rate.room()) * PARTS).saturating_sub(self.level) / PARTS;
        u64::try_from(left).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use shuniu_model::{Codec, GrantState, Limits, Mode, ResourceName, View};

    use super::*;

    const PER_SECOND: PerSecond = PerSecond { deliveries: 1, registry_requests: 1, published_bytes: 1_000 };

    fn limiter(deliveries: u64, registry_requests: u64) -> Limiter {
        Limiter::new(PerSecond { deliveries, registry_requests, ..PER_SECOND })
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + millis * 1_000)
    }

    fn grant(id: &str, limits: Limits) -> Grant {
        Grant {
            id: GrantId::parse(id).unwrap(),
            system: SystemId::parse("hall").unwrap(),
            resource: ResourceName::parse("shop").unwrap(),
            view: View::whole(),
            modes: vec![Mode::Subscribe],
            purpose: String::new(),
            basis: String::new(),
            starts_at: Timestamp::from_micros(0),
            ends_at: Timestamp::from_micros(i64::MAX),
            state: GrantState::Active,
            limits,
            codec: Codec::default(),
        }
    }

    #[test]
    fn over_time_a_grant_moves_its_limit_and_no_more_however_large_its_answers() {
        for records in [1, 7, 100, 2_500] {
            let limiter = limiter(1_000_000, 1);
            let grant = grant("g", Limits { records_per_second: Some(100), ..Limits::default() });
            let mut moved = 0;
            for millis in 0..60_000 {
                if limiter.allowance(&grant, at(millis)).is_ok() {
                    limiter.moved(&grant, records, 1, at(millis));
                    moved += records;
                }
            }
            // One second's worth at once, then a hundred a second, and the last answer may lie over the end.
            assert!((6_000..=6_100 + records).contains(&moved), "answers of {records}: {moved}");
        }
    }

    #[test]
    fn the_wait_that_is_told_is_the_one_that_is_needed() {
        let limiter = limiter(1_000, 1);
        let grant = grant("g", Limits { bytes_per_second: Some(1_000), ..Limits::default() });
        assert_eq!(limiter.allowance(&grant, at(0)).unwrap().bytes, 1_000);
        limiter.moved(&grant, 1, 400, at(0));
        assert_eq!(limiter.allowance(&grant, at(0)).unwrap().bytes, 600);
        limiter.moved(&grant, 1, 5_600, at(0));
        let wait = limiter.allowance(&grant, at(0)).unwrap_err();
        assert_eq!(wait.as_millis(), 5_000);
        assert!(limiter.allowance(&grant, at(5_000)).is_err());
        assert!(limiter.allowance(&grant, at(5_001)).is_ok());
        // A clock that is set back gives nothing, and does not hold the grant up for as long.
        assert!(limiter.allowance(&grant, at(-100_000)).is_ok());
    }

    #[test]
    fn answers_are_limited_also_where_the_grant_names_no_limit() {
        let limiter = limiter(2, 1);
        let (one, other) = (grant("g", Limits::default()), grant("h", Limits::default()));
        let mut entries = 0;
        for millis in 0..600_000 {
            while limiter.allowance(&one, at(millis)).is_ok() {
                limiter.moved(&one, 1, 1, at(millis));
                entries += 1;
            }
        }
        // A minute's worth at once, then two a second.
        assert!((1_318..=1_322).contains(&entries), "{entries}");
        assert!(limiter.allowance(&other, at(0)).is_ok(), "another grant is not held up");
    }

    #[test]
    fn a_system_asks_for_schemas_within_its_limit() {
        let limiter = limiter(1, 5);
        let (hall, bank) = (SystemId::parse("hall").unwrap(), SystemId::parse("bank").unwrap());
        assert_eq!((0..1_000).filter(|_| limiter.asked(&hall, at(0)).is_ok()).count(), 300);
        assert!(limiter.asked(&bank, at(0)).is_ok());
        let wait = limiter.asked(&hall, at(0)).unwrap_err();
        assert!(wait <= Duration::from_millis(1), "{wait:?}");
        assert_eq!((0..1_000).filter(|_| limiter.asked(&hall, at(2_000)).is_ok()).count(), 10);
        // A higher limit holds at once.
        limiter.adjust(PerSecond { registry_requests: 10, ..PER_SECOND });
        assert_eq!((0..1_000).filter(|_| limiter.asked(&hall, at(2_000)).is_ok()).count(), 300);
    }

    #[test]
    fn who_publishes_over_the_limit_is_told_to_wait_as_long_as_the_debt_is_and_nobody_else_is() {
        let limiter = limiter(1, 1);
        let (hall, bank) = (SystemId::parse("hall").unwrap(), SystemId::parse("bank").unwrap());
        assert_eq!(limiter.published(&hall, 999, at(0)), Duration::ZERO);
        let wait = limiter.published(&hall, 2_001, at(0));
        assert_eq!(wait.as_millis(), 2_000);
        assert_eq!(limiter.published(&bank, 10, at(0)), Duration::ZERO);
        assert_eq!(limiter.published(&hall, 0, at(2_001)), Duration::ZERO);
        // A debt is not forgotten where one answer does not tell the whole of it.
        assert_eq!(limiter.published(&hall, 31_000, at(10_000)), PUBLISH_WAIT_MAX);
        assert_eq!(limiter.published(&hall, 0, at(20_000)), PUBLISH_WAIT_MAX);
        assert!(limiter.published(&hall, 0, at(39_000)) > Duration::ZERO);
        assert_eq!(limiter.published(&hall, 0, at(40_001)), Duration::ZERO);
    }
}
