//! Tiles in an S3-compatible object store: the names of [`crate::TileFolder`], under a prefix of a bucket.
//!
//! Two requests carry the safety: a tile is put with `If-None-Match: *`, so that nobody's bytes replace another's, and
//! the checkpoint with `If-Match`, so that an old one never replaces a newer. A store that passes over either would
//! lose history without a word; opening it for writing tries both and refuses such a store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{
    ClientOptions, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
    UpdateVersion,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use shuniu_ledger::Tile;
use shuniu_ledger::note::NoteVerifier;
use shuniu_ledger::tile::TileName;
use tokio::runtime::{Handle, Runtime};

use crate::bounded::{CHECKPOINT_BYTES_MAX, KEY_BYTES_MAX};
use crate::tiles::{TileError, Tiles, bytes_max, compare, cut, size_of};

/// Requests under way at once.
const REQUESTS_AT_ONCE: usize = 16;
/// Another replica that is faster each time gives up before.
const PUBLISH_ATTEMPTS: usize = 10;
const CONNECT_MAX: Duration = Duration::from_secs(5);
const REQUEST_MAX: Duration = Duration::from_secs(20);
/// What fails longer is the sequencer's to try again.
const RETRY_MAX: Duration = Duration::from_secs(10);
const RETRIES_MAX: usize = 3;

/// Where a bucket is and how it is opened.
#[derive(Clone)]
pub struct ObjectOptions {
    /// The store's address, `https://HOST:PORT`; plain `http` on this machine alone.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// What every name begins with; empty for none.
    pub prefix: String,
    /// The access key's id.
    pub key_id: String,
    /// The access key's secret.
    pub secret: String,
    /// The authorities that the store's certificate may be from, PEM; `None` for those of this machine.
    pub authority: Option<Vec<u8>>,
}

/// A store that cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ObjectStart {
    /// The address is not one.
    #[error(
        "the object store's endpoint `{endpoint}` must be https://HOST:PORT (http on this machine alone)"
    )]
    Endpoint {
        /// As it was given.
        endpoint: String,
    },
    /// The authorities cannot be read, or there are none.
    #[error("there is no authority to check the object store's certificate against: {detail}")]
    Authority {
        /// What is wrong.
        detail: String,
    },
    /// The client cannot be made.
    #[error("cannot make a client of the object store")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store passes over conditions.
    #[error(
        "the object store writes over an object that a request says must not be there ({condition}): it cannot keep an \
         audit log. Use a store with conditional writes"
    )]
    Unconditional {
        /// The condition that it passed over.
        condition: &'static str,
    },
    /// The store refused the trial.
    #[error("cannot try the object store")]
    Trial(#[source] TileError),
}

/// Tiles in an object store.
pub struct TileObjects {
    store: AmazonS3,
    prefix: String,
    /// What waits for the store: callers block, in another runtime or without one.
    waiting: Handle,
    /// `None` once dropped.
    runtime: Option<Runtime>,
}

impl Drop for TileObjects {
    fn drop(&mut self) {
        // A runtime that is dropped waits, which a caller inside another must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for TileObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TileObjects").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl TileObjects {
    /// A bucket, for reading. Nothing is asked of it yet.
    ///
    /// # Errors
    /// See [`ObjectStart`].
    pub fn open(options: &ObjectOptions) -> Result<Self, ObjectStart> {
        let wrong = || ObjectStart::Endpoint { endpoint: options.endpoint.clone() };
        let plain = match options.endpoint.split_once("://") {
            Some(("https", _)) => false,
            Some(("http", host)) if is_local(host) => true,
            _ => return Err(wrong()),
        };
        let tls = tls(options.authority.as_deref())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_MAX)
            .timeout(REQUEST_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ObjectStart::Client(Box::new(error)))?;
        let retry =
            RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_MAX, ..RetryConfig::default() };
        let store = AmazonS3Builder::new()
            .with_endpoint(&options.endpoint)
            .with_region(&options.region)
            .with_bucket_name(&options.bucket)
            .with_access_key_id(&options.key_id)
            .with_secret_access_key(&options.secret)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Every store removes one object; some do not several.
            .with_disable_bulk_delete(true)
            .with_client_options(ClientOptions::new().with_allow_http(plain))
            .with_allow_http(plain)
            .with_http_connector(Connector(client))
            .with_retry(retry)
            .build()
            .map_err(|error| ObjectStart::Client(Box::new(error)))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tiles")
            .enable_all()
            .build()
            .map_err(|error| ObjectStart::Client(Box::new(error)))?;
        let prefix = options.prefix.trim_matches('/').to_owned();
        let waiting = runtime.handle().clone();
        Ok(Self { store, prefix, waiting, runtime: Some(runtime) })
    }

    /// A bucket, for writing: the store is tried first. Blocks.
    ///
    /// # Errors
    /// [`ObjectStart::Unconditional`] for a store that cannot keep a log; see [`ObjectStart`].
    pub fn create(options: &ObjectOptions) -> Result<Self, ObjectStart> {
        let objects = Self::open(options)?;
        objects.wait(objects.try_conditions())?;
        Ok(objects)
    }

    async fn try_conditions(&self) -> Result<(), ObjectStart> {
        // Replicas that start at once must not disturb each other.
        let name = format!("trial-{}", uuid::Uuid::new_v4());
        let path = self.path(&name);
        let tried = self.tried(&name, &path).await;
        let removed = self.store.delete(&path).await.map_err(|error| trial("remove", &name, error));
        // What the trial found says more than that its object stays.
        tried.and(removed)
    }

    async fn tried(&self, name: &str, path: &Path) -> Result<(), ObjectStart> {
        let first = self.put_with("first", path, PutMode::Create).await;
        let first = first.map_err(|error| trial("write", name, error))?;
        let if_match = |e_tag| PutMode::Update(UpdateVersion { e_tag, version: None });
        let wrong = if_match(Some("\"00000000000000000000000000000000\"".to_owned()));
        for (condition, mode) in [("If-None-Match", PutMode::Create), ("If-Match", wrong)] {
            match self.put_with("other", path, mode).await {
                Ok(_) => return Err(ObjectStart::Unconditional { condition }),
                Err(error) if is_condition(&error) => {}
                Err(error) => return Err(trial("write", name, error)),
            }
        }
        let good = self.put_with("second", path, if_match(first.e_tag)).await;
        good.map(drop).map_err(|error| trial("write", name, error))
    }

    fn path(&self, name: &str) -> Path {
        if self.prefix.is_empty() { Path::from(name) } else { Path::from(format!("{}/{name}", self.prefix)) }
    }

    async fn put_with(
        &self,
        bytes: impl Into<PutPayload>,
        path: &Path,
        mode: PutMode,
    ) -> object_store::Result<object_store::PutResult> {
        self.store.put_opts(path, bytes.into(), PutOptions::from(mode)).await
    }

    /// An object's bytes with its tag; `None` when there is none.
    async fn get(&self, name: &str, bytes_max: u64) -> Result<Option<(Bytes, Option<String>)>, TileError> {
        let failed = object_error("read", name);
        let found = match self.store.get(&self.path(name)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if found.meta.size > bytes_max {
            return Err(TileError::TooLarge { name: name.to_owned(), bytes_max });
        }
        let tag = found.meta.e_tag.clone();
        Ok(Some((found.bytes().await.map_err(failed)?, tag)))
    }

    async fn read_tile(&self, tile: TileName) -> Result<Vec<u8>, TileError> {
        if let Some((bytes, _)) = self.get(&tile.to_string(), bytes_max(tile)).await? {
            return Ok(bytes.to_vec());
        }
        // A partial tile goes when the full one is there: it is the full one's beginning.
        if tile.is_full() {
            return Err(TileError::Missing { tile });
        }
        let full = self.get(&tile.full().to_string(), bytes_max(tile)).await?;
        let (full, _) = full.ok_or(TileError::Missing { tile })?;
        cut(tile, &full)
    }

    async fn put_tile(&self, tile: &Tile) -> Result<(), TileError> {
        let name = tile.name.to_string();
        let put = self.put_with(tile.bytes.clone(), &self.path(&name), PutMode::Create).await;
        match put {
            Ok(_) => Ok(()),
            // Another replica was faster, or this one before a crash or an answer that was lost.
            Err(error) if is_condition(&error) => {
                // Read as readers do: it may have become a full one and be gone since.
                let held = match self.read_tile(tile.name).await {
                    // Whatever it begins with, it is not what the topic gives.
                    Err(TileError::TooLarge { .. }) => {
                        return Err(TileError::Different { tile: tile.name, at: tile.bytes.len() });
                    }
                    held => held?,
                };
                compare(tile, &held)
            }
            Err(error) => Err(object_error("write", &name)(error)),
        }
    }

    async fn publish_note(&self, note: &str) -> Result<(), TileError> {
        const NAME: &str = "checkpoint";
        for _ in 0..PUBLISH_ATTEMPTS {
            let shown = self.get(NAME, CHECKPOINT_BYTES_MAX).await?;
            let mode = match shown {
                None => PutMode::Create,
                Some((shown, e_tag)) => {
                    let shown = String::from_utf8_lossy(&shown);
                    if shown == note || size_of(&shown) > size_of(note) {
                        return Ok(());
                    }
                    PutMode::Update(UpdateVersion { e_tag, version: None })
                }
            };
            match self.put_with(note.to_owned(), &self.path(NAME), mode).await {
                Ok(_) => return Ok(()),
                // Another replica showed its own meanwhile: which is the later one is looked at again.
                Err(error) if is_condition(&error) => {}
                Err(error) => return Err(object_error("write", NAME)(error)),
            }
        }
        Err(TileError::Contended { name: NAME })
    }

    async fn remove_partial(&self, full: TileName) -> object_store::Result<()> {
        let folder = self.path(&format!("{full}.p"));
        let names: Vec<Path> =
            self.store.list(Some(&folder)).map_ok(|meta| meta.location).try_collect().await?;
        let removing = stream::iter(&names).map(|name| self.store.delete(name));
        removing.buffer_unordered(REQUESTS_AT_ONCE).try_collect::<()>().await?;
        Ok(())
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.waiting.block_on(work)
    }
}

impl Tiles for TileObjects {
    fn read(&self, tile: TileName) -> Result<Vec<u8>, TileError> {
        self.wait(self.read_tile(tile))
    }

    fn put(&self, tiles: &[Tile]) -> Result<(), TileError> {
        let putting = stream::iter(tiles)
            .map(|tile| self.put_tile(tile))
            .buffer_unordered(REQUESTS_AT_ONCE)
            .try_collect::<()>();
        self.wait(putting)
    }

    fn checkpoint(&self) -> Result<Option<String>, TileError> {
        let found = self.wait(self.get("checkpoint", CHECKPOINT_BYTES_MAX))?;
        Ok(found.map(|(note, _)| String::from_utf8_lossy(&note).into_owned()))
    }

    fn publish(&self, note: &str) -> Result<(), TileError> {
        self.wait(self.publish_note(note))
    }

    fn public_key(&self) -> Result<Option<String>, TileError> {
        let found = self.wait(self.get("audit.pub", KEY_BYTES_MAX))?;
        Ok(found.map(|(key, _)| String::from_utf8_lossy(&key).into_owned()))
    }

    fn publish_key(&self, key: &NoteVerifier) -> Result<(), TileError> {
        const NAME: &str = "audit.pub";
        let path = self.path(NAME);
        let put = self.put_with(format!("{key}\n"), &path, PutMode::Overwrite);
        self.wait(async { put.await.map(drop).map_err(object_error("write", NAME)) })
    }

    fn prune(&self, full: &[TileName]) {
        let pruning = stream::iter(full).for_each_concurrent(REQUESTS_AT_ONCE, |tile| async move {
            let removed = self.remove_partial(*tile).await.map_err(object_error("remove", "partial"));
            if let Err(error) = removed {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, %tile, "the partial tiles of a full one cannot be removed");
            }
        });
        self.wait(pruning);
    }
}

/// Hands out the client that was made with our TLS.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// TLS with the given authorities, or this machine's.
fn tls(authority: Option<&[u8]>) -> Result<rustls::ClientConfig, ObjectStart> {
    let failed = |detail: String| ObjectStart::Authority { detail };
    let mut roots = rustls::RootCertStore::empty();
    if let Some(pem) = authority {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed("the file holds no certificate in PEM".to_owned()));
        }
    } else {
        // A machine without any can still reach a store on itself, without TLS.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Whether a host, with or without a port, is this machine.
fn is_local(host: &str) -> bool {
    let host = host.trim_end_matches('/');
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    shuniu_store::is_local_host(name)
}

/// Whether the store held a condition against the request.
fn is_condition(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}

fn trial(attempted: &'static str, name: &str, error: object_store::Error) -> ObjectStart {
    ObjectStart::Trial(object_error(attempted, name)(error))
}

fn object_error(attempted: &'static str, name: &str) -> impl Fn(object_store::Error) -> TileError + use<> {
    let name = name.to_owned();
    move |source| TileError::Objects { attempted, name: name.clone(), source: Box::new(source) }
}
