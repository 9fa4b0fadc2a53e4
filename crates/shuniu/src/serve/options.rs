//! What the parts take of the configuration.

use std::path::Path;
use std::time::Duration;

use shuniu_archive::AuditOptions;
use shuniu_broker::NodeId;
use shuniu_exchange::Settings;
use shuniu_ledger::{BootId, Suite};

use super::records::virtual_brokers;
use crate::config::{self, Config};

pub(super) fn audit(folder: &Path, config: &config::Audit, suite: Suite, replication: u16) -> AuditOptions {
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

pub(super) fn exchange(config: &config::Exchange) -> Settings {
    Settings {
        fetch_bytes_max: i32::try_from(config.fetch_bytes_max).unwrap_or(i32::MAX),
        fetch_wait_ms_max: config.fetch_wait_milliseconds_max,
        scan_bytes_max: config.scan_bytes_max,
        decompressed_bytes_max: config.decompressed_bytes_max,
        answers_bytes_max: config.answers_bytes_max,
        answers_bytes_per_system_max: config.answers_bytes_per_system_max,
        shared_bytes_max: config.shared_bytes_max,
        deliveries_per_second: config.deliveries_per_second,
        registry_requests_per_second: config.registry_requests_per_second,
        published_bytes_per_second: config.published_bytes_per_second,
    }
}

pub(super) fn gateway(config: &Config) -> shuniu_gateway::Options {
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

pub(super) fn api(config: &config::Api) -> shuniu_api::Options {
    shuniu_api::Options {
        connections_max: config.connections_max,
        connections_per_system_max: config.connections_per_system_max,
        handshake_max: Duration::from_secs(config.handshake_seconds),
        connection_max: Duration::from_secs(config.connection_seconds),
        body_bytes_max: config.body_bytes_max,
    }
}
