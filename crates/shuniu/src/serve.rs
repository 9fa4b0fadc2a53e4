//! The hub: everything is built here, once, and taken down in the opposite order.

mod keys;
mod metrics;
mod records;
mod recovery;
mod reload;
mod revocation;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{
    AUDIT_TOPIC, AuditLog, AuditOptions, AuditStart, AuditUnavailable, Sequenced, Sequencer, SequencerError,
    SequencerOptions, TileError, Tiles, Trimmer,
};
use shuniu_broker::{NodeId, Upstream};
use shuniu_engine::{Damage, EngineError};
use shuniu_exchange::{Closed, Exchange, Parts, PolicyError, PolicyWatch, RecoverError, Settings};
use shuniu_ledger::note::{KeyError, NoteSigner, NoteVerifier};
use shuniu_ledger::{Actor, BootId, Draft, Suite};
use shuniu_model::{Clock, ResourceName};
use shuniu_store::Store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config};
use crate::directory::{self, DirectoryError};
use crate::keys::Keys;
use crate::log_line::Level;
use crate::secret_file::SecretFileError;
use crate::seen_policy;
use crate::service;
use crate::telemetry::Metrics;
use crate::tiles::{self, TilesError};

pub use keys::SharedKeysError;
use metrics::Sampled;
pub(crate) use records::Records;
use records::virtual_brokers;
use recovery::Recovery;
use reload::{Live, Reload};
use revocation::Revocations;
use tls::Papers;
pub use tls::TlsError;
pub(crate) use tls::authority;

/// Why a hub does not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be made.
    #[error("cannot make the data folder `{folder}`")]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is missing or exposed.
    #[error("cannot have the hub's keys")]
    Keys(#[source] SecretFileError),
    /// The certificates cannot be used.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// The record store cannot be opened.
    #[error("cannot open the record store")]
    Engine(#[source] EngineError),
    /// The certificates for the cluster cannot be used.
    #[error("cannot set up TLS for the Apache Kafka cluster")]
    KafkaTls(#[source] TlsError),
    /// Records are damaged. Nothing was changed, and no door opened.
    #[error(
        "records are damaged. Put the data folder's last backup back; or, if there is none, give these offsets up with the \
         hub stopped: shuniu records accept-loss {} {} --first {} --last {} --data FOLDER",
        .0.topic, .0.partition, .0.first, .0.last
    )]
    Damaged(#[source] Box<Damage>),
    /// The audit log's topic is damaged: evidence is not given up.
    #[error(
        "the audit log's entries are damaged. They are evidence, and their loss cannot be accepted: put the data folder's \
         last backup back, and keep the damaged folder for whoever examines it"
    )]
    Evidence(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The record store does not have what the audit log knows of. No door opened, or they are closed again.
    #[error(
        "records are lost. Put the record store's last backup back; or, if there is none and the hub keeps its records \
         itself, give these offsets up with the hub stopped: shuniu records accept-loss {resource} {partition} \
         --first {first} --last {last} --data FOLDER"
    )]
    Lost {
        /// The resource, which is the topic's name too.
        resource: ResourceName,
        /// The partition.
        partition: i32,
        /// The first lost offset.
        first: i64,
        /// The last one that the log knows of.
        last: i64,
        /// What was found.
        #[source]
        source: Box<RecoverError>,
    },
    /// The record store and the audit log cannot be held against each other.
    #[error("cannot hold the records against the audit log")]
    Recover(#[source] Box<RecoverError>),
    /// The directory cannot be opened.
    #[error("cannot open the directory")]
    Directory(#[source] DirectoryError),
    /// This hub's keys are not those of the directory's other hubs.
    #[error("cannot use this hub's keys with its directory")]
    SharedKeys(#[source] SharedKeysError),
    /// The policy cannot be loaded.
    #[error("cannot load the policy")]
    Policy(#[source] PolicyError),
    /// The audit log cannot be opened.
    #[error("cannot open the audit log")]
    Audit(#[source] AuditStart),
    /// The audit log does not take its first entry.
    #[error("cannot write down that the hub starts")]
    Started(#[source] AuditUnavailable),
    /// The record store does not say how far its topics go.
    #[error("cannot ask how far the topics go")]
    Ends(#[source] Closed),
    /// The signing key does not go with the log's name.
    #[error("cannot sign for the audit log `{name}`")]
    Signer {
        /// The log's name.
        name: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The tiles cannot be reached.
    #[error("cannot keep the audit log's tiles")]
    Tiles(#[source] TilesError),
    /// The log's public key cannot be laid beside the tiles.
    #[error("cannot lay the audit log's public key beside its tiles")]
    PublicKey(#[source] TileError),
    /// The task that reaches the tiles was ended.
    #[error("the opening of the audit log's tiles was ended")]
    Ended,
    /// Somebody else listens there, as a rule.
    #[error(
        "cannot listen on {address}; if the address is in use, another hub or the demonstration may be running"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The audit log's history is in doubt: a person must look before anything is delivered again.
    #[error("the audit log cannot be sequenced any further")]
    Sequencer(#[source] Box<SequencerError>),
}

impl ServeError {
    pub(crate) fn engine(error: EngineError) -> Self {
        match error {
            EngineError::Damaged(damage) if damage.topic == AUDIT_TOPIC => Self::Evidence(damage),
            EngineError::Damaged(damage) => Self::Damaged(damage),
            error => Self::Engine(error),
        }
    }

    fn records(error: RecoverError) -> Self {
        match &error {
            RecoverError::Lost { resource, .. } if resource.as_str() == AUDIT_TOPIC => {
                Self::Evidence(Box::new(error))
            }
            RecoverError::Lost { resource, partition, end, last } => {
                let (resource, partition, first, last) = (resource.clone(), *partition, *end, *last);
                Self::Lost { resource, partition, first, last, source: Box::new(error) }
            }
            _ => Self::Recover(Box::new(error)),
        }
    }
}

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
        let options = audit_options(folder, &config.audit, suite, records.replication);
        let upstream = Arc::clone(&records.upstream);
        let audit = AuditLog::start(
            Arc::clone(&upstream),
            options,
            Arc::clone(clock),
            &audit_tracker,
            audit_cancel.clone(),
        );
        let audit = audit.await.map_err(ServeError::Audit)?;
        let mut sequencing = sequence(config, suite, keys, &store, Arc::clone(&upstream)).await?;
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

/// The sequencer at work.
struct Sequencing {
    /// Resolves with the reason when the log can be sequenced no further.
    failed: oneshot::Receiver<SequencerError>,
    /// How far the log is.
    state: watch::Receiver<Sequenced>,
    /// The log's public key.
    key: NoteVerifier,
    /// Where its tiles are.
    tiles: Arc<dyn Tiles>,
    /// A key of subjects that an entry will need and that is not here.
    missing_key: Arc<watch::Sender<Option<String>>>,
    /// Its own: it ends behind the log's writer, so that it sees all that was written.
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Sequencing {
    /// Waits until the log shows a checkpoint, or cannot do so now. The hub opens then all the same: entries wait on
    /// their topic, and `/health/ready` tells of the trouble.
    async fn begun(&mut self) {
        // An end of the sequencer is for `failed` to tell.
        self.state.wait_for(|state| state.shown || state.trouble.is_some()).await.ok();
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
            settings: settings(&config.exchange),
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
            sequencing_notes(&sequenced.borrow()).into_iter().chain(key).collect()
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

/// What a supervisor should see of the sequencer: whether it goes on, and how many entries wait for it.
fn sequencing_notes(sequenced: &Sequenced) -> Vec<String> {
    let waiting = sequenced.waiting();
    let lag = (waiting > 0).then(|| format!("audit log: {waiting} entries wait for a checkpoint"));
    let trouble = sequenced.trouble.as_ref().map(|why| format!("audit log: not sequenced now: {why}"));
    lag.into_iter().chain(trouble).collect()
}

/// Starts the sequencer; what is returned resolves when it must stop.
async fn sequence(
    config: &Config,
    suite: Suite,
    keys: &Keys,
    store: &Store,
    upstream: Arc<dyn Upstream>,
) -> Result<Sequencing, ServeError> {
    let name = suite.origin(&config.audit.name);
    let secret = keys.audit_signing().map_err(ServeError::Keys)?;
    let signer = NoteSigner::new(suite, &name, secret.expose())
        .map_err(|source| ServeError::Signer { name: name.clone(), source })?;
    let tiles = keep_tiles(config, signer.verifier().clone()).await?;
    let key = signer.verifier().clone();
    let options = SequencerOptions { gather: Duration::from_millis(config.audit.gather_milliseconds) };
    let sequencer = Sequencer::new(
        upstream,
        Arc::new(store.clone()),
        Arc::new(Arc::clone(&tiles)),
        Arc::new(signer),
        options,
    );
    let state = sequencer.state();
    let (sender, failed) = oneshot::channel();
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    let sequencing = sequencer.run(cancel.clone());
    tracker.spawn(async move {
        if let Err(error) = sequencing.await {
            // Nobody listens any more only while the hub closes anyway.
            sender.send(error).ok();
        } else {
            // Kept until the end: a dropped sender would read as an end without a shutdown.
            drop(sender);
        }
    });
    let missing_key = Arc::new(watch::Sender::new(None));
    Ok(Sequencing { failed, state, key, tiles, missing_key, tracker, cancel })
}

/// Where the tiles go, with the public key beside them.
async fn keep_tiles(config: &Config, key: NoteVerifier) -> Result<Arc<dyn Tiles>, ServeError> {
    let config = config.clone();
    let kept = tokio::task::spawn_blocking(move || {
        let tiles = tiles::create(&config).map_err(ServeError::Tiles)?;
        tiles.publish_key(&key).map_err(ServeError::PublicKey)?;
        Ok(tiles)
    });
    kept.await.map_err(|_| ServeError::Ended)?
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

fn audit_options(folder: &Path, config: &config::Audit, suite: Suite, replication: u16) -> AuditOptions {
    AuditOptions {
        boot: BootId(rand::random()),
        suite,
        append_max: Duration::from_secs(config.append_seconds),
        refusals_merged: Duration::from_secs(config.refusals_merged_seconds),
        spool: folder.join("refusals.spool"),
        spool_bytes_max: config.spool_bytes_max,
        replication,
    }
}

fn settings(config: &config::Exchange) -> Settings {
    Settings {
        fetch_bytes_max: i32::try_from(config.fetch_bytes_max).unwrap_or(i32::MAX),
        fetch_wait_ms_max: config.fetch_wait_milliseconds_max,
        scan_bytes_max: config.scan_bytes_max,
        decompressed_bytes_max: config.decompressed_bytes_max,
        answers_bytes_max: config.answers_bytes_max,
        answers_bytes_per_system_max: config.answers_bytes_per_system_max,
        deliveries_per_second: config.deliveries_per_second,
        registry_requests_per_second: config.registry_requests_per_second,
    }
}

fn gateway_options(config: &Config) -> shuniu_gateway::Options {
    let brokers = virtual_brokers(config)
        .into_iter()
        .map(|it| (NodeId(it.node), shuniu_gateway::Broker { host: it.host, port: it.port }))
        .collect();
    let config = &config.gateway;
    shuniu_gateway::Options {
        brokers,
        connections_max: config.connections_max,
        connections_per_system_max: config.connections_per_system_max,
        handshake_max: Duration::from_secs(config.handshake_seconds),
        idle_max: Duration::from_secs(config.idle_seconds),
        write_max: Duration::from_secs(config.write_seconds),
        frame_max: Duration::from_secs(config.frame_seconds),
        drain_max: Duration::from_secs(config.drain_seconds),
        produce_bytes_max: config.produce_bytes_max,
        frames_bytes_max: config.frames_bytes_max,
        frames_bytes_per_system_max: config.frames_bytes_per_system_max,
    }
}

fn api_options(config: &config::Api) -> shuniu_api::Options {
    shuniu_api::Options {
        connections_max: config.connections_max,
        connections_per_system_max: config.connections_per_system_max,
        handshake_max: Duration::from_secs(config.handshake_seconds),
        connection_max: Duration::from_secs(config.connection_seconds),
        body_bytes_max: config.body_bytes_max,
    }
}
