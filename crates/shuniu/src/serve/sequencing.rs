//! The sequencer of the audit log: started here, and told of.

use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{Sequenced, Sequencer, SequencerError, SequencerOptions, Tiles};
use shuniu_broker::Upstream;
use shuniu_ledger::Suite;
use shuniu_ledger::note::{NoteSigner, NoteVerifier};
use shuniu_store::Store;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ServeError;
use crate::config::Config;
use crate::keys::Keys;
use crate::tiles;

/// The sequencer at work.
pub(super) struct Sequencing {
    /// Resolves with the reason when the log can be sequenced no further.
    pub(super) failed: oneshot::Receiver<SequencerError>,
    /// How far the log is.
    pub(super) state: watch::Receiver<Sequenced>,
    /// The log's public key.
    pub(super) key: NoteVerifier,
    /// Where its tiles are.
    pub(super) tiles: Arc<dyn Tiles>,
    /// A key of subjects that an entry will need and that is not here.
    pub(super) missing_key: Arc<watch::Sender<Option<String>>>,
    /// Its own: it ends behind the log's writer, so that it sees all that was written.
    pub(super) tracker: TaskTracker,
    pub(super) cancel: CancellationToken,
}

impl Sequencing {
    /// Starts it.
    pub(super) async fn start(
        config: &Config,
        suite: Suite,
        keys: &Keys,
        store: &Store,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Self, ServeError> {
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
        Ok(Self { failed, state, key, tiles, missing_key, tracker, cancel })
    }

    /// Waits until the log shows a checkpoint, or cannot do so now. The hub opens then all the same: entries wait on
    /// their topic, and `/health/ready` tells of the trouble.
    pub(super) async fn begun(&mut self) {
        // An end of the sequencer is for `failed` to tell.
        self.state.wait_for(|state| state.shown || state.trouble.is_some()).await.ok();
    }
}

/// What a supervisor should see of the sequencer: whether it goes on, and how many entries wait for it.
pub(super) fn notes(sequenced: &Sequenced) -> Vec<String> {
    let waiting = sequenced.waiting();
    let lag = (waiting > 0).then(|| format!("audit log: {waiting} entries wait for a checkpoint"));
    let trouble = sequenced.trouble.as_ref().map(|why| format!("audit log: not sequenced now: {why}"));
    lag.into_iter().chain(trouble).collect()
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
