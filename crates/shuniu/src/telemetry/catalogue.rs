//! Every metric that a hub shows.
//!
//! Labels have few values: codes, names of APIs, resources of the directory. None is what a client chose, and none is about
//! a person.

/// A metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The names of its labels.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests hold code and documents to it"))]
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// What is measured.
pub(super) enum Kind {
    /// How often, since the process started.
    Counter,
    /// How much, now.
    Gauge,
    /// How it is spread, in these buckets.
    Histogram(&'static [f64]),
}

/// From a millisecond to what a client waits at most.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A Fetch waits up to thirty.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The promise is one second.
const REVOCATION_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0];

/// All of them, as docs/OPERATING.md lists them.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "shuniu_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the label is the program's version.",
    },
    Metric {
        name: "shuniu_ready",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while /health/ready says so: the policy is fresh, the audit log open, the hub to stay.",
    },
    Metric {
        name: "shuniu_connections",
        kind: Kind::Gauge,
        labels: &["door"],
        help: "Open connections of known systems. Doors: kafka, http.",
    },
    Metric {
        name: "shuniu_connections_total",
        kind: Kind::Counter,
        labels: &["door", "outcome"],
        help: "Connections that came. Outcomes: served, handshake-failed, not-a-system, too-many, system-too-many, unavailable.",
    },
    Metric {
        name: "shuniu_requests_total",
        kind: Kind::Counter,
        labels: &["door", "api", "outcome"],
        help: "Requests. APIs: Kafka's names, or paths of the HTTP door; `unknown` for anything else. Outcomes: answered, refused, closed (without an answer), cut (by a revocation), failed.",
    },
    Metric {
        name: "shuniu_request_seconds",
        kind: Kind::Histogram(REQUEST_SECONDS),
        labels: &["door", "api"],
        help: "From a request's last byte in to its answer's last byte out. A Fetch includes the time that it waits for records.",
    },
    Metric {
        name: "shuniu_refusals_total",
        kind: Kind::Counter,
        labels: &["code"],
        help: "Refusals and cuts, by the codes of docs/ERRORS.md.",
    },
    Metric {
        name: "shuniu_throttled_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Answers that told a client to wait. Reasons: limit (of a grant), memory (none for the answer), registry (asked too often), published (sent more than it may).",
    },
    Metric {
        name: "shuniu_published_records_total",
        kind: Kind::Counter,
        labels: &["resource"],
        help: "Records that were acknowledged, a producer's repetitions included.",
    },
    Metric {
        name: "shuniu_published_bytes_total",
        kind: Kind::Counter,
        labels: &["resource"],
        help: "Bytes of their batches.",
    },
    Metric {
        name: "shuniu_delivered_records_total",
        kind: Kind::Counter,
        labels: &["resource"],
        help: "Records that were handed out, after their entry on the audit log.",
    },
    Metric {
        name: "shuniu_delivered_bytes_total",
        kind: Kind::Counter,
        labels: &["resource"],
        help: "Bytes of their batches, as they left.",
    },
    Metric {
        name: "shuniu_append_seconds",
        kind: Kind::Histogram(SECONDS),
        labels: &[],
        help: "How long the record store takes for one Produce.",
    },
    Metric {
        name: "shuniu_projection_seconds",
        kind: Kind::Histogram(SECONDS),
        labels: &[],
        help: "How long the batches of one answer of the record store take to become a view's.",
    },
    Metric {
        name: "shuniu_revocation_seconds",
        kind: Kind::Histogram(REVOCATION_SECONDS),
        labels: &[],
        help: "From a change of the policy (at the earliest) to the end of a connection or answer that it withdrew.",
    },
    Metric {
        name: "shuniu_reloads_total",
        kind: Kind::Counter,
        labels: &["outcome"],
        help: "Configurations that were to be taken over. Outcomes: done, refused (nothing changed).",
    },
    Metric {
        name: "shuniu_policy_age_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Since the policy in force was confirmed. From 0.7 on deliveries pause, from 10 on they are refused.",
    },
    Metric {
        name: "shuniu_policy_version",
        kind: Kind::Gauge,
        labels: &[],
        help: "The version of the policy in force.",
    },
    Metric {
        name: "shuniu_outbox_drafts",
        kind: Kind::Gauge,
        labels: &[],
        help: "Changes of the directory whose entry is not on the audit log yet. Absent while the directory's database does not answer.",
    },
    Metric {
        name: "shuniu_audit_down",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while the audit log cannot be written: nothing is delivered or acknowledged.",
    },
    Metric {
        name: "shuniu_audit_append_seconds",
        kind: Kind::Histogram(SECONDS),
        labels: &[],
        help: "How long a caller waits for its entries to be durable.",
    },
    Metric {
        name: "shuniu_audit_entries_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Entries that this hub wrote.",
    },
    Metric {
        name: "shuniu_audit_tree_entries",
        kind: Kind::Gauge,
        labels: &[],
        help: "Entries under the last checkpoint.",
    },
    Metric {
        name: "shuniu_audit_unsequenced_entries",
        kind: Kind::Gauge,
        labels: &[],
        help: "Entries on the topic that no checkpoint covers yet, as it was last seen.",
    },
    Metric {
        name: "shuniu_audit_sequencer_troubled",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while the log's sequencer cannot go on.",
    },
    Metric {
        name: "shuniu_groups",
        kind: Kind::Gauge,
        labels: &[],
        help: "Consumer groups in the hub's own record store, with or without members.",
    },
    Metric {
        name: "shuniu_data_folder_free_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "What is free to the hub on the data folder's file system.",
    },
    Metric {
        name: "shuniu_certificate_ends_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["certificate"],
        help: "When the certificate in use ends, in seconds since 1970. Certificates: hub, authority (the one that ends first).",
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "User and system time of the hub's process.",
    },
    Metric { name: "process_open_fds", kind: Kind::Gauge, labels: &[], help: "Open files and sockets." },
    Metric { name: "process_max_fds", kind: Kind::Gauge, labels: &[], help: "How many may be open." },
    Metric { name: "process_resident_memory_bytes", kind: Kind::Gauge, labels: &[], help: "Memory in use." },
    Metric {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Address space in use.",
    },
    Metric {
        name: "process_virtual_memory_max_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "How much may be.",
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process started, in seconds since 1970.",
    },
    Metric { name: "process_threads", kind: Kind::Gauge, labels: &[], help: "Threads of the process." },
];

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../../docs/OPERATING.md");

    fn row(metric: &Metric) -> String {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
    }

    #[test]
    fn the_document_lists_every_metric_and_no_other() {
        let documented: Vec<&str> = DOCUMENT
            .lines()
            .filter(|line| line.starts_with("| `shuniu_") || line.starts_with("| `process_"))
            .collect();
        let known: Vec<String> = METRICS.iter().map(row).collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn names_follow_prometheus_and_have_their_unit_last() {
        for metric in METRICS {
            let counts = metric.name.ends_with("_total");
            assert_eq!(counts, matches!(metric.kind, Kind::Counter), "{}", metric.name);
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(metric.name.ends_with("_seconds"), "{}", metric.name);
                assert!(buckets.is_sorted(), "{}", metric.name);
            }
        }
    }
}
