//! Every answer of the hub that is not its broker's, with the reason. docs/CLIENTS.md tells users of those that they can
//! notice.

/// A field, or with `.*` all that is below it, in which the answer to a system differs in some case.
///
/// `whole` is held against the bare broker, `projected` against `whole`, and `none` against what it is answered about a
/// topic that there is not: nothing is listed for it.
pub(super) struct Difference {
    pub(super) who: &'static str,
    pub(super) case: &'static str,
    pub(super) field: &'static str,
    pub(super) why: &'static str,
}

const fn row(who: &'static str, case: &'static str, field: &'static str, why: &'static str) -> Difference {
    Difference { who, case, field, why }
}

const NO_SESSIONS: &str =
    "no fetch sessions: every request says everything that it wants, and is decided for anew";
const UNKNOWN_IS_DENIED: &str = "a topic that is not there and one that is not granted get the same answer";
const SAYS_WHY: &str = "a refusal says what to do, in the words of docs/ERRORS.md";
const TOGETHER: &str =
    "a topic's partitions are answered together: clients look them up by topic and partition";
const ROWS_ONLY: &str = "only rows of the resource's schema enter";
const SOME_SETTINGS: &str =
    "only the settings that clients ask for are shown, and nobody changes them through the hub";
const NO_SETTINGS: &str = "the settings of brokers are the operator's affair";
const NO_PERMISSIONS: &str = "Kafka's permissions say nothing here: grants do";
const OWN_WORDS: &str = "it is the hub that looks at it, and its words are its own";
const THE_VIEW: &str = "the records as the view has them";

const ERROR_MESSAGE: &str = "responses.partition_responses.error_message";

pub(super) const DIFFERENCES: &[Difference] = &[
    row("whole", "fetch that opens a session", "session_id", NO_SESSIONS),
    row("whole", "fetch that opens a session in the place of another", "session_id", NO_SESSIONS),
    row("whole", "fetch of two topics", "responses.partitions.error_code", UNKNOWN_IS_DENIED),
    row("whole", "fetch that names a topic twice", "responses.*", TOGETHER),
    row("whole", "metadata of a topic that is not there", "topics.error_code", UNKNOWN_IS_DENIED),
    row("whole", "metadata of all", "topics.*", "only topics that may be read or published are named"),
    row("whole", "metadata with permissions", "cluster_authorized_operations", NO_PERMISSIONS),
    row("whole", "metadata with permissions", "topics.topic_authorized_operations", NO_PERMISSIONS),
    row("whole", "some settings", "results.configs.read_only", SOME_SETTINGS),
    row("whole", "all settings", "results.configs.*", SOME_SETTINGS),
    row("whole", "settings of a broker", "results.*", NO_SETTINGS),
    row(
        "whole",
        "coordinator",
        "error_message",
        "asked in version 4 or later, whose message of no error is empty",
    ),
    row("whole", "newer: join under no name", "error_message", OWN_WORDS),
    row("whole", "newer: join by a pattern that is none", "error_message", OWN_WORDS),
    row(
        "whole",
        "produce to a topic that is not there",
        "responses.partition_responses.error_code",
        UNKNOWN_IS_DENIED,
    ),
    row("whole", "produce to a topic that is not there", ERROR_MESSAGE, SAYS_WHY),
    row("whole", "produce with a changed byte", ERROR_MESSAGE, SAYS_WHY),
    row("whole", "produce cut short", ERROR_MESSAGE, SAYS_WHY),
    row("whole", "produce two batches at once", ERROR_MESSAGE, SAYS_WHY),
    row("whole", "produce no records", ERROR_MESSAGE, SAYS_WHY),
    row("whole", "produce with acknowledgements of five", ERROR_MESSAGE, SAYS_WHY),
    row("whole", "produce without a key", ERROR_MESSAGE, SAYS_WHY),
    row(
        "whole",
        "produce without a key",
        "responses.partition_responses.record_errors.batch_index_error_message",
        SAYS_WHY,
    ),
    row(
        "whole",
        "produce without a key",
        "responses.partition_responses.log_start_offset",
        "the broker is not asked",
    ),
    row("whole", "produce what is too large", "responses.partition_responses.error_code", ROWS_ONLY),
    row("whole", "produce what is too large", ERROR_MESSAGE, ROWS_ONLY),
    row("whole", "produce what is too large", "responses.partition_responses.record_errors.*", ROWS_ONLY),
    row("whole", "produce what is no row", "responses.partition_responses.*", ROWS_ONLY),
    row("projected", "metadata of all", "topics.*", "each system has topics of its own"),
    row("projected", "produce", ERROR_MESSAGE, "whoever may see the topic is told who publishes it"),
    row("projected", "fetch from the start", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch from within a batch", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch what is committed", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch one batch", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch at most a byte", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch of this leader epoch", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch after this epoch", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch of two topics", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch that opens a session", "responses.partitions.records", THE_VIEW),
    row(
        "projected",
        "fetch that opens a session in the place of another",
        "responses.partitions.records",
        THE_VIEW,
    ),
    row("projected", "fetch that closes a session that is none", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch that names a topic twice", "responses.partitions.records", THE_VIEW),
    row("projected", "fetch that waits", "responses.partitions.records", THE_VIEW),
];

impl Difference {
    /// Whether it covers what was found.
    pub(super) fn covers(&self, who: &str, case: &str, field: &str) -> bool {
        let of_field = match self.field.strip_suffix(".*") {
            Some(above) => {
                field.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            None => field == self.field,
        };
        self.who == who && self.case == case && of_field
    }
}
