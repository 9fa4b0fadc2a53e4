//! A configuration that is taken over while the hub runs: all of it that can change, or nothing.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use shuniu_archive::{AuditLog, AuditUnavailable};
use shuniu_exchange::{Exchange, Trust};
use shuniu_ledger::{Actor, Draft};
use tokio::sync::watch;

use super::options;
use super::revocation::Revocations;
use super::tls::{Papers, TlsError};
use crate::causes::causes;
use crate::config::{Config, ConfigError, Taken};
use crate::log_line::Level;
use crate::service;

/// Why nothing is taken over.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// The file is wrong.
    #[error("cannot have the configuration")]
    Config(#[source] ConfigError),
    /// Certificates or key are.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// Whoever reads the log must see who was trusted when.
    #[error("cannot write down what changes")]
    Audit(#[source] AuditUnavailable),
}

/// What can change while the hub runs.
pub(super) struct Reload {
    /// The configuration's file; without one only certificates and key are read again.
    pub(super) file: Option<PathBuf>,
    /// What holds.
    pub(super) config: Config,
    pub(super) level: Level,
    pub(super) revocations: Revocations,
    pub(super) exchange: Arc<Exchange>,
    pub(super) audit: AuditLog,
    pub(super) live: Live,
}

/// What the doors follow.
pub(super) struct Live {
    pub(super) tls: watch::Sender<Arc<ServerConfig>>,
    pub(super) trust: watch::Sender<Arc<dyn Trust>>,
    pub(super) gateway: watch::Sender<Arc<shuniu_gateway::Options>>,
    pub(super) api: watch::Sender<shuniu_api::Options>,
}

impl Live {
    pub(super) fn of(config: &Config, papers: Papers) -> Self {
        papers.show_ends();
        Self {
            tls: watch::Sender::new(papers.server),
            trust: watch::Sender::new(papers.trust),
            gateway: watch::Sender::new(Arc::new(options::gateway(config))),
            api: watch::Sender::new(options::api(&config.api)),
        }
    }
}

impl Reload {
    /// Reads the configuration, certificates and key again. What came of it is told to the log and the service manager.
    pub(super) async fn run(&mut self) {
        service::reloading();
        let (outcome, said) = match self.take().await {
            Ok(taken) => {
                let (changed, waiting) = (taken.changed.join(", "), taken.waiting.join(", "));
                tracing::info!(changed, "the configuration is taken over, with certificates and key");
                if !taken.waiting.is_empty() {
                    tracing::warn!(waiting, "these keys stay as they are until the hub is started again");
                }
                let (changed, waiting) = (none_or(&changed), none_or(&waiting));
                (
                    "done",
                    format!(
                        "open; certificates and key read again; reloaded: {changed}; only after a restart: {waiting}"
                    ),
                )
            }
            Err(error) => {
                let error = causes(&error);
                tracing::error!(error, "the configuration is not taken over: nothing changed");
                let said = format!("open; not reloaded: {error}");
                ("refused", said)
            }
        };
        metrics::counter!("shuniu_reloads_total", "outcome" => outcome).increment(1);
        service::ready(&said);
    }

    async fn take(&mut self) -> Result<Taken, ReloadError> {
        let taken = match &self.file {
            Some(file) => Config::read(file).and_then(|given| self.config.taken_from(&given)),
            None => self.config.taken_from(&self.config),
        };
        let taken = taken.map_err(ReloadError::Config)?;
        let config = &taken.config;
        let papers = Papers::read(&config.hub.data_folder, &config.tls, self.revocations.clone())
            .map_err(ReloadError::Tls)?;
        let note = format!("reloaded; changed: {}; {papers}", none_or(&taken.changed.join(", ")));
        let draft = Draft::administered(Actor::hub(), "hub", &note);
        // Before anything changes. While the log is down nothing leaves, so that nothing is gained by not waiting for it.
        self.audit.append(draft).await.map_err(ReloadError::Audit)?;

        papers.show_ends();
        // Whoever comes is held to the new authorities before those who are there are looked at again.
        self.live.tls.send_replace(papers.server);
        self.live.trust.send_replace(papers.trust);
        self.level.set(config.hub.log);
        self.exchange.adjust(options::exchange(&config.exchange));
        self.live.gateway.send_replace(Arc::new(options::gateway(config)));
        self.live.api.send_replace(options::api(&config.api));
        self.config = config.clone();
        Ok(taken)
    }
}

fn none_or(list: &str) -> &str {
    if list.is_empty() { "none" } else { list }
}
