//! What all sessions share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use shuniu_archive::{AuditLog, TRACED};
use shuniu_ledger::{Actor, Draft, Refusal as RefusalEntry, SubjectKey};
use shuniu_model::identifier::Uscc;
use shuniu_model::{ResourceName, SystemId, Timestamp};
use shuniu_policy::{Denial, ReadPermit};
use shuniu_wire::ApiKey;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::access::Access;
use crate::acknowledged::Acknowledged;
use crate::budget::{Budget, WholeBudget};
use crate::caller::Caller;
use crate::check::Refusal;
use crate::keyring::{KeyRing, KeyUnavailable};
use crate::limits::{Limiter, PerSecond};
use crate::meter;
use crate::plans::Plans;
use crate::policy_watch::{PolicyWatch, Stale};
use crate::projections::Projections;
use crate::recorded::{POLICY_STALE, Withdrawn};
use crate::trust::{Trusted, changed};

/// The code of a connection whose certificate has ended since it was let in.
const CERTIFICATE_EXPIRED: &str = "certificate-expired";
/// The code of a connection whose certificate is of an authority that is trusted no longer.
const AUTHORITY_DISTRUSTED: &str = "authority-distrusted";

/// Systems' budgets kept; over that those without a connection go.
const SYSTEMS_KEPT: usize = 1_024;

/// Bounds of the exchange.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes that one fetch takes from the record store at most.
    pub fetch_bytes_max: i32,
    /// How long one fetch may wait, whatever the client asks.
    pub fetch_wait_ms_max: u64,
    /// Bytes that one fetch reads past, looking for a record that its view lets through.
    pub scan_bytes_max: usize,
    /// A batch over this once decompressed is refused, in and out.
    pub decompressed_bytes_max: usize,
    /// What answers of all clients may take of memory at once; more wait.
    pub answers_bytes_max: usize,
    /// What answers of one system may take of it.
    pub answers_bytes_per_system_max: usize,
    /// What of it keeps projected batches for further readers of the same view.
    pub shared_bytes_max: usize,
    /// Answers with records that each grant gets in a second; a minute's worth may come at once.
    pub deliveries_per_second: u64,
    /// Requests for schemas that each system may make in a second; a minute's worth may come at once.
    pub registry_requests_per_second: u64,
    /// Bytes of records that each publishing system may send in a second.
    pub published_bytes_per_second: u64,
}

impl Settings {
    fn per_second(&self) -> PerSecond {
        PerSecond {
            deliveries: self.deliveries_per_second,
            registry_requests: self.registry_requests_per_second,
            published_bytes: self.published_bytes_per_second,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fetch_bytes_max: 8 << 20,
            fetch_wait_ms_max: 30_000,
            scan_bytes_max: 64 << 20,
            decompressed_bytes_max: 32 << 20,
            answers_bytes_max: 512 << 20,
            answers_bytes_per_system_max: 64 << 20,
            shared_bytes_max: 64 << 20,
            deliveries_per_second: 20,
            registry_requests_per_second: 20,
            published_bytes_per_second: 256 << 20,
        }
    }
}

/// What all sessions share.
pub(crate) struct Hub {
    settings: RwLock<Settings>,
    pub(crate) policy: PolicyWatch,
    trusted: Trusted,
    pub(crate) plans: Plans,
    pub(crate) projections: Arc<Projections>,
    pub(crate) audit: AuditLog,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) limits: Limiter,
    /// Fires when the doors close.
    pub(crate) closing: CancellationToken,
    answers: WholeBudget,
    answers_bytes_per_system_max: usize,
    systems: Mutex<HashMap<SystemId, Budget>>,
    keys: Arc<dyn KeyRing>,
    subject_key: Mutex<Option<Arc<SubjectKey>>>,
}

impl Hub {
    pub(crate) fn new(
        settings: Settings,
        (policy, trusted): (PolicyWatch, Trusted),
        audit: AuditLog,
        keys: Arc<dyn KeyRing>,
        closing: CancellationToken,
    ) -> Self {
        let limits = Limiter::new(settings.per_second());
        let answers = Budget::of_all(settings.answers_bytes_max);
        let projections = Arc::new(Projections::new(answers.clone(), settings.shared_bytes_max));
        let plans = Plans::new(Arc::clone(&keys), settings.decompressed_bytes_max, Arc::clone(&projections));
        Self {
            answers_bytes_per_system_max: settings.answers_bytes_per_system_max,
            settings: RwLock::new(settings),
            policy,
            trusted,
            plans,
            projections,
            audit,
            acknowledged: Acknowledged::default(),
            limits,
            closing,
            answers,
            systems: Mutex::default(),
            keys,
            subject_key: Mutex::new(None),
        }
    }

    /// The bounds in force.
    pub(crate) fn settings(&self) -> Settings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other bounds over, as far as they can change while the hub runs.
    pub(crate) fn adjust(&self, settings: Settings) {
        self.limits.adjust(settings.per_second());
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The memory that a system's answers may take: one budget for all its connections.
    pub(crate) fn answers_of(&self, system: &SystemId) -> Budget {
        let mut systems = self.systems.lock().unwrap_or_else(PoisonError::into_inner);
        if systems.len() >= SYSTEMS_KEPT {
            systems.retain(|_, budget| !budget.is_alone());
        }
        let bytes_max = self.answers_bytes_per_system_max;
        systems.entry(system.clone()).or_insert_with(|| self.answers.of_one(bytes_max)).clone()
    }

    /// The policy of this moment for a caller; waits while it cannot be confirmed.
    pub(crate) async fn access(&self, caller: &Caller) -> Result<Access, Stale> {
        let waited = tracing::info_span!(target: TRACED, "policy");
        let snapshot = self.policy.fresh().instrument(waited).await?;
        Ok(Access { snapshot, principal: caller.principal(), now: self.policy.now() })
    }

    /// Whether a permit is still good.
    pub(crate) fn still(&self, permit: &ReadPermit) -> Result<(), Denial> {
        permit.still(&self.policy.snapshot(), self.policy.now())
    }

    /// Resolves when one of the permits is good no longer.
    pub(crate) async fn withdrawn(&self, permits: &[Arc<ReadPermit>]) -> Withdrawn {
        let mut changes = self.policy.changes();
        loop {
            for permit in permits {
                if let Err(denial) = self.still(permit) {
                    return Withdrawn { code: denial.code().as_str() };
                }
            }
            let ends_at = permits.iter().map(|permit| permit.grant().ends_at).min();
            let wait =
                ends_at.map_or(Duration::from_secs(3_600), |ends_at| until(self.policy.now(), ends_at));
            tokio::select! {
                () = changed(&mut changes) => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Resolves when the caller itself is good no longer: certificate revoked or over, its authority no longer trusted, or
    /// system gone.
    pub(crate) async fn caller_withdrawn(&self, caller: &Caller) -> Withdrawn {
        let (mut changes, mut trusted) = (self.policy.changes(), self.trusted.clone());
        // Other authorities may be trusted since the handshake, so that the first look is one at them too.
        let mut trust_changed = true;
        loop {
            if std::mem::take(&mut trust_changed) {
                let trust = Arc::clone(&trusted.borrow_and_update());
                if !trust.believes(&caller.chain, self.policy.now()) {
                    return Withdrawn { code: AUTHORITY_DISTRUSTED };
                }
            }
            let snapshot = self.policy.snapshot();
            if snapshot.is_revoked(&caller.certificate) {
                return Withdrawn { code: shuniu_policy::Code::CertificateRevoked.as_str() };
            }
            if snapshot.system(&caller.system).is_none() {
                return Withdrawn { code: shuniu_policy::Code::UnknownSystem.as_str() };
            }
            drop(snapshot);
            let now = self.policy.now();
            if now >= caller.ends_at {
                return Withdrawn { code: CERTIFICATE_EXPIRED };
            }
            tokio::select! {
                () = changed(&mut changes) => {}
                () = changed(&mut trusted) => trust_changed = true,
                () = tokio::time::sleep(until(now, caller.ends_at)) => {}
            }
        }
    }

    /// Counts that something under way was ended by a withdrawal: what it is called, and how long it took when it was the
    /// policy that changed. A term that is over has no change to count from.
    pub(crate) fn note_cut(&self, withdrawn: &Withdrawn) {
        meter::refused(withdrawn.code, 1);
        if !matches!(withdrawn.code, CERTIFICATE_EXPIRED | AUTHORITY_DISTRUSTED | POLICY_STALE)
            && withdrawn.code != shuniu_policy::Code::GrantExpired.as_str()
        {
            meter::revoked(self.policy.changed_within());
        }
    }

    /// The key of this year's subject digests.
    pub(crate) fn subject_key(&self) -> Result<Arc<SubjectKey>, KeyUnavailable> {
        let year = year_of(self.policy.now());
        let mut kept = self.subject_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = kept.as_ref().filter(|key| key.year() == year) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(self.keys.subjects_of(year)?);
        *kept = Some(Arc::clone(&key));
        Ok(key)
    }

    /// Records that a caller was denied something, so many times.
    pub(crate) fn refused(&self, caller: &Caller, asked: &str, denial: &Denial, count: u64) {
        let detail = denial.sentence().to_owned();
        self.refuse(caller, asked.to_owned(), denial.code().as_str(), detail, None, count);
    }

    /// Records that a batch was refused.
    pub(crate) fn refused_records(&self, caller: &Caller, resource: &ResourceName, refusal: &Refusal) {
        let asked = format!("produce {resource}");
        self.refuse(caller, asked, refusal.code, refusal.message.clone(), Some(resource.clone()), 1);
    }

    /// Records a refusal that a door made by itself.
    pub(crate) fn refused_at_door(
        &self,
        caller: &Caller,
        api: Option<ApiKey>,
        code: &'static str,
        detail: &str,
    ) {
        let asked = api.map_or_else(|| "unknown api".to_owned(), |api| format!("{api:?}").to_lowercase());
        self.refuse(caller, asked, code, detail.to_owned(), None, 1);
    }

    fn refuse(
        &self,
        caller: &Caller,
        asked: String,
        code: &'static str,
        detail: String,
        resource: Option<ResourceName>,
        count: u64,
    ) {
        meter::refused(code, count);
        let refusal = RefusalEntry { asked, code: code.to_owned(), detail, resource, grant: None };
        let mut draft = Draft::refused(self.actor(caller), refusal).from_source(caller.source);
        draft.count = Some(count);
        // The audit log counts, and says what it writes to the hub's log too: a line for each would let anybody fill it.
        self.audit.refuse(draft);
    }

    /// A caller as the audit log names it.
    pub(crate) fn actor(&self, caller: &Caller) -> Actor {
        let organisation: Option<Uscc> =
            self.policy.snapshot().system(&caller.system).map(|system| system.organisation);
        Actor::system(organisation, caller.system.clone(), &caller.certificate)
    }
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    let micros = then.as_micros().saturating_sub(now.as_micros()).max(1_000);
    // Timers hold about two years at most; a term that ends later is looked at again then.
    Duration::from_micros(u64::try_from(micros).unwrap_or(0)).min(Duration::from_secs(86_400 * 365))
}

/// The year in UTC of an instant: which year's subject key is used.
fn year_of(now: Timestamp) -> u16 {
    let days = now.as_micros().div_euclid(86_400_000_000);
    // Howard Hinnant's civil-from-days, for the year alone.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let year = year_of_era + era * 400 + i64::from(month_shifted >= 10);
    u16::try_from(year).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_key_changes_with_the_year() {
        let second = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(year_of(second(0)), 1970);
        assert_eq!(year_of(second(1_798_761_599)), 2026);
        assert_eq!(year_of(second(1_798_761_600)), 2027);
        assert_eq!(year_of(second(951_782_400)), 2000);
    }
}
