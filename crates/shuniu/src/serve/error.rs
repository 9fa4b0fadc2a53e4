//! Why a hub does not start, or ended by itself.

use std::net::SocketAddr;

use shuniu_archive::{AUDIT_TOPIC, AuditStart, AuditUnavailable, SequencerError, TileError};
use shuniu_engine::{Damage, EngineError};
use shuniu_exchange::{Closed, PolicyError, RecoverError};
use shuniu_ledger::note::KeyError;
use shuniu_model::ResourceName;

use super::{SharedKeysError, TlsError};
use crate::directory::DirectoryError;
use crate::secret_file::SecretFileError;
use crate::tiles::TilesError;

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

    pub(super) fn records(error: RecoverError) -> Self {
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
