//! The hub: everything is built here, once, and taken down in the opposite order.

mod error;
mod keys;
mod metrics;
mod options;
mod records;
mod recovery;
mod reload;
mod revocation;
mod sequencing;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{AuditLog, SequencerError, Trimmer};
use shuniu_broker::NodeId;
use shuniu_exchange::{Exchange, Parts, PolicyWatch, RecoverError};
use shuniu_ledger::{Actor, Draft};
use shuniu_model::Clock;
use shuniu_store::Store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::directory;
use crate::keys::Keys;
use crate::log_line::Level;
use crate::seen_policy;
use crate::service;
use crate::telemetry::Metrics;

pub use error::ServeError;
pub use keys::SharedKeysError;
use metrics::Sampled;
pub(crate) use records::Records;
use records::virtual_brokers;
use recovery::Recovery;
use reload::{Live, Reload};
use revocation::Revocations;
use sequencing::Sequencing;
use tls::Papers;
pub use tls::TlsError;
pub(crate) use tls::authority;

/// What a running hub is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Close in order. A second one ends the notice that clients are given.
    Stop,
    /// Take the configuration, certificates and key over again.
    Reload,
}

/// What the hub is started with.
pub struct Program {
    /// The configuration.
    pub config: Config,
    /// Its file, to be read again.
    pub file: Option<PathBuf>,
    /// How much is logged.
    pub level: Level,
    /// What is measured.
    pub metrics: Metrics,
}

/// Runs the hub until it is told to stop (or nobody is left to tell it), or until it must not go on.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(
    program: Program,
    clock: Clock,
    mut orders: mpsc::Receiver<Order>,
) -> Result<(), ServeError> {
    let Program { config, file, level, metrics } = program;
    let config = &config;
    let folder = &config.hub.data_folder;
    std::fs::create_dir_all(folder)
        .map_err(|source| ServeError::Folder { folder: folder.clone(), source })?;
    // What can be refused without touching a record comes first: keys, certificates, addresses.
    let keys = Keys::open(folder).map_err(ServeError::Keys)?;
    let revocations = Revocations::default();
    let papers = Papers::read(folder, &config.tls, revocations.clone()).map_err(ServeError::Tls)?;
    let listeners = Listeners::open(config).await?;

    let mut base = Base::open(config, &keys, &clock).await?;
    let (watched, unwatched) = (TaskTracker::new(), CancellationToken::new());
    watched.spawn(service::watched(unwatched.clone()));
    let mut doors =
        Doors::open(config, &base, keys, clock, (papers, &revocations), listeners, metrics).await?;
    tracing::info!(kafka = ?doors.kafka, http = %config.api.listen, "the hub is open");
    service::ready("open");
    let mut reload = Reload {
        file,
        config: config.clone(),
        level,
        revocations,
        exchange: Arc::clone(&doors.exchange),
        audit: base.audit.clone(),
        live: doors.live,
    };

    let mut told = Told { failed: &mut base.sequencing.failed, lost: &mut doors.lost, orders: &mut orders };
    let mut ended = told.until_stopped(&mut reload).await;
    // Not ready from here on. Only a hub in order goes on serving while others take over.
    doors.closing.cancel();
    let notice = Duration::from_secs(reload.config.hub.notice_seconds);
    if ended.is_ok() && !notice.is_zero() {
        tracing::info!("the hub is about to close, in {} s", notice.as_secs());
        service::stopping("about to close; still serving");
        if let Ok(told) = tokio::time::timeout(notice, told.until_stopped(&mut reload)).await {
            ended = told;
        }
    }
    tracing::info!("the hub closes");
    service::stopping("closing");
    let patience = Duration::from_secs(reload.config.hub.shutdown_seconds);
    // Doors first, so that nothing new is recorded; then what they stand on, so that a withdrawal stops also what is
    // under way till then; then the log, so that what was recorded is in it; then its sequencer, so that all of it is
    // under a checkpoint; the records last.
    close(&doors.tracker, &doors.cancel, patience, "connections").await;
    close(&doors.behind, &doors.behind_cancel, patience, "the exchange").await;
    close(&base.audit_tracker, &base.audit_cancel, patience, "the audit log").await;
    let Sequencing { tracker, cancel, .. } = base.sequencing;
    close(&tracker, &cancel, patience, "the audit log's sequencer").await;
    base.records.close(patience).await;
    base.store.close().await;
    close(&watched, &unwatched, patience, "the watchdog").await;
    ended
}

/// What a running hub listens to.
struct Told<'a> {
    failed: &'a mut oneshot::Receiver<SequencerError>,
    lost: &'a mut oneshot::Receiver<RecoverError>,
    orders: &'a mut mpsc::Receiver<Order>,
}

impl Told<'_> {
    /// Resolves when the hub is to stop: told to, or because it must not go on. Reloads meanwhile.
    async fn until_stopped(&mut self, reload: &mut Reload) -> Result<(), ServeError> {
        loop {
            let (sequenced, whole) = (self.failed.is_terminated(), self.lost.is_terminated());
            let order = tokio::select! {
                // Of what may go on and what must end, the end counts.
                biased;
                Ok(error) = &mut *self.failed, if !sequenced => {
                    return Err(ServeError::Sequencer(Box::new(error)));
                }
                Ok(lost) = &mut *self.lost, if !whole => return Err(ServeError::records(lost)),
                order = self.orders.recv() => order,
            };
            match order {
                Some(Order::Reload) => reload.run().await,
                Some(Order::Stop) | None => return Ok(()),
            }
        }
    }
}

/// What holds data: records, directory, audit log.
struct Base {
    records: Records,
    store: Store,
    audit: AuditLog,
    audit_tracker: TaskTracker,
    audit_cancel: CancellationToken,
    sequencing: Sequencing,
}

impl Base {
    async fn open(config: &Config, keys: &Keys, clock: &Clock) -> Result<Self, ServeError> {
        let folder = &config.hub.data_folder;
        let (audit_tracker, audit_cancel) = (TaskTracker::new(), CancellationToken::new());
        let records = Records::open(config, clock).await?;
        let store = directory::open(config).await.map_err(ServeError::Directory)?;
        keys::agree(keys, &store, clock()).await.map_err(ServeError::SharedKeys)?;
        let suite = config.audit.suite().unwrap_or_default();
        let options = options::audit(folder, &config.audit, suite, records.replication);
        let upstream = Arc::clone(&records.upstream);
        let audit = AuditLog::start(
            Arc::clone(&upstream),
            options,
            Arc::clone(clock),
            &audit_tracker,
            audit_cancel.clone(),
        );
        let audit = audit.await.map_err(ServeError::Audit)?;
        let mut sequencing = Sequencing::start(config, suite, keys, &store, Arc::clone(&upstream)).await?;
        let trimmer = Trimmer::new(upstream, sequencing.state.clone(), Arc::clone(clock));
        sequencing.tracker.spawn(trimmer.run(sequencing.cancel.clone()));
        let missing = Arc::clone(&sequencing.missing_key);
        let kept =
            keys::keep(keys.clone(), store.clone(), Arc::clone(clock), missing, sequencing.cancel.clone());
        sequencing.tracker.spawn(kept);
        sequencing.begun().await;
        Ok(Self { records, store, audit, audit_tracker, audit_cancel, sequencing })
    }
}

/// What answers: the exchange and its doors.
struct Doors {
    /// Where each virtual broker listens.
    kafka: Vec<SocketAddr>,
    /// Connections.
    tracker: TaskTracker,
    cancel: CancellationToken,
    /// What they stand on: the policy's follower, the exchange's own tasks.
    behind: TaskTracker,
    behind_cancel: CancellationToken,
    /// Fires when the hub is about to close.
    closing: CancellationToken,
    exchange: Arc<Exchange>,
    live: Live,
    /// Resolves when the audit log turns out to know of records that the record store does not have.
    lost: oneshot::Receiver<RecoverError>,
}

impl Doors {
    async fn open(
        config: &Config,
        base: &Base,
        keys: Keys,
        clock: Clock,
        (papers, revocations): (Papers, &Revocations),
        Listeners { kafka, http, health }: Listeners,
        metrics: Metrics,
    ) -> Result<Self, ServeError> {
        let started = Draft::administered(Actor::hub(), "hub", "started");
        let started = base.audit.append(started).await.map_err(ServeError::Started)?;
        let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
        let (behind, behind_cancel) = (TaskTracker::new(), CancellationToken::new());
        let policy = PolicyWatch::start(base.store.clone(), clock, &behind, behind_cancel.clone());
        let live = Live::of(config, papers);
        let policy = policy.await.map_err(ServeError::Policy)?;
        let kept =
            seen_policy::follow(config.hub.data_folder.clone(), policy.followed(), behind_cancel.clone());
        behind.spawn(kept);
        let parts = Parts {
            upstream: Arc::clone(&base.records.upstream),
            store: base.store.clone(),
            policy,
            trusted: live.trust.subscribe(),
            audit: base.audit.clone(),
            keys: Arc::new(keys),
            settings: options::exchange(&config.exchange),
            replication: base.records.replication,
            closing: cancel.clone(),
        };
        let exchange = Exchange::start(parts, &behind, &behind_cancel);
        revocations.follow(&exchange);
        // What is published from here on has its entry; what is there already may lack one.
        let ends = exchange.ends().await.map_err(ServeError::Ends)?;
        let mut recovery = Recovery {
            exchange: Arc::clone(&exchange),
            ends,
            started_at: started.offset.unwrap_or(0),
            state: base.sequencing.state.clone(),
            tiles: Arc::clone(&base.sequencing.tiles),
            key: base.sequencing.key.clone(),
            kept: config.hub.data_folder.join("covered"),
        };
        // Before the doors: what is published onto a log that has lost its end takes the lost records' offsets.
        let covered = recovery.before_the_doors().await.map_err(ServeError::records)?;
        let (sender, lost) = oneshot::channel();
        behind.spawn(recovery.run(covered, sender, behind_cancel.clone()));
        let gateway = shuniu_gateway::Door {
            tls: live.tls.subscribe(),
            exchange: Arc::clone(&exchange),
            options: live.gateway.subscribe(),
        };
        let api = shuniu_api::Door {
            tls: live.tls.subscribe(),
            exchange: Arc::clone(&exchange),
            options: live.api.subscribe(),
        };
        let listening = kafka.iter().filter_map(|(_, listener)| listener.local_addr().ok()).collect();
        tracker.spawn(gateway.serve(kafka, tracker.clone(), cancel.clone()));
        tracker.spawn(api.serve(http, tracker.clone(), cancel.clone()));
        let closing = CancellationToken::new();
        tracker.spawn(metrics::settle(metrics.clone(), cancel.clone()));
        let sampled = Sampled {
            metrics,
            exchange: Arc::clone(&exchange),
            store: base.store.clone(),
            audit: base.audit.clone(),
            sequenced: base.sequencing.state.clone(),
            engine: base.records.engine.clone(),
            folder: config.hub.data_folder.clone(),
            closing: closing.clone(),
        };
        let sequenced = base.sequencing.state.clone();
        let missing_key = base.sequencing.missing_key.subscribe();
        let notes = Arc::new(move || {
            let key = missing_key.borrow().as_ref().map(|why| format!("keys: {why}"));
            sequencing::notes(&sequenced.borrow()).into_iter().chain(key).collect()
        });
        let supervised = shuniu_api::Health {
            exchange: Arc::clone(&exchange),
            notes,
            closing: closing.clone(),
            routes: sampled.routes(),
        };
        tracker.spawn(supervised.serve(health, tracker.clone(), cancel.clone()));
        let kafka = listening;
        Ok(Self { kafka, tracker, cancel, behind, behind_cancel, closing, exchange, live, lost })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// Where the hub listens.
struct Listeners {
    /// One for each virtual broker.
    kafka: Vec<(NodeId, TcpListener)>,
    http: TcpListener,
    health: TcpListener,
}

impl Listeners {
    async fn open(config: &Config) -> Result<Self, ServeError> {
        let mut kafka = Vec::new();
        for broker in virtual_brokers(config) {
            kafka.push((NodeId(broker.node), listen(broker.listen).await?));
        }
        let (http, health) = (listen(config.api.listen).await?, listen(config.api.health_listen).await?);
        Ok(Self { kafka, http, health })
    }
}

async fn close(tracker: &TaskTracker, cancel: &CancellationToken, patience: Duration, what: &str) {
    cancel.cancel();
    tracker.close();
    if tokio::time::timeout(patience, tracker.wait()).await.is_err() {
        tracing::warn!("{what} did not end within {} s", patience.as_secs());
    }
}
