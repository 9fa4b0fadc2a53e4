//! The way in: a batch is accepted whole, or refused whole with the rules that its records break.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use shuniu_ledger::{SubjectKey, SubjectMac};
use shuniu_model::{Resource, Timestamp};
use shuniu_policy::PublishPermit;
use shuniu_schema::{Checked, Checker, frame};
use shuniu_wire::batch::{Batch, BatchError, Record, batches};
use shuniu_wire::messages::ResponseError;

use crate::headers::{ALLOWED, BEFORE, HEADER_BYTES_MAX};
use crate::plans::Scratches;
use crate::publish::RECORD_ERRORS_MAX;

/// Kafka itself bounds keys only by the batch; a key is a number or an identifier here.
const KEY_BYTES_MAX: usize = 1_024;

/// How far a record's time may be ahead of the hub's clock: Kafka's own default from 4.0 on
/// (`message.timestamp.after.max.ms`). A record from further ahead would be found last by every search by time.
const AHEAD_MS_MAX: i64 = 3_600_000;
/// The time of a record without one.
const NO_TIMESTAMP: i64 = -1;

const LATEST_WRONG: &str = "the latest time that its batch states is not the latest of the batch's records";

/// Checks incoming batches of one resource.
pub(crate) struct Inspector {
    resource: Arc<Resource>,
    /// By schema id, oldest first.
    checkers: Vec<(u32, Checker)>,
    decompressed_bytes_max: usize,
    scratches: Arc<Scratches>,
}

/// A batch that may be appended, and what the audit log says of it.
pub(crate) struct Accepted {
    pub(crate) records: i32,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) schemas: Vec<u32>,
    /// The year of the subject key, and the subjects by their record's place in the batch.
    pub(crate) year: u16,
    pub(crate) subjects: Vec<(i32, SubjectMac)>,
}

/// Stored records, as the audit log describes them.
#[derive(Default)]
pub(crate) struct Described {
    /// Their offsets, rising.
    pub(crate) offsets: Vec<i64>,
    pub(crate) schemas: Vec<u32>,
    pub(crate) subjects: Vec<(i64, SubjectMac)>,
    /// The last offset that the batches cover; `None` when there was none.
    pub(crate) covered_to: Option<i64>,
}

impl Accepted {
    fn empty(year: u16) -> Self {
        Self { records: 0, bytes: 0, sha256: [0; 32], schemas: Vec::new(), year, subjects: Vec::new() }
    }
}

/// Why a batch is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The stable code.
    pub(crate) code: &'static str,
    /// For the batch as a whole.
    pub(crate) message: String,
    /// For each broken record, the first ones.
    pub(crate) records: Vec<RecordRefusal>,
    error: ResponseError,
}

/// Why one record is refused. It names the item and the rule, never a value.
#[derive(Debug)]
pub(crate) struct RecordRefusal {
    /// Counted from 0 in the batch.
    pub(crate) index: i32,
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal of the batch that is no record's fault.
    pub(crate) fn whole(code: &'static str, message: String) -> Self {
        Self { code, message, records: Vec::new(), error: ResponseError::InvalidRecord }
    }

    /// The Kafka error to answer with.
    pub(crate) fn error(&self) -> ResponseError {
        self.error
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let (code, kafka) = match error {
            BatchError::Crc { .. } | BatchError::Length { .. } => {
                ("batch-corrupt", ResponseError::CorruptMessage)
            }
            BatchError::Magic { .. } => ("message-format", ResponseError::UnsupportedForMessageFormat),
            BatchError::Bomb { .. } => ("batch-too-large", ResponseError::RecordListTooLarge),
            BatchError::Codec { .. } => ("compression-unknown", ResponseError::UnsupportedCompressionType),
            BatchError::Decompress { .. }
            | BatchError::Record { .. }
            | BatchError::Count { .. }
            | BatchError::NotOne { .. }
            | BatchError::NotAllowed { .. }
            | BatchError::Build { .. } => ("batch-malformed", ResponseError::InvalidRecord),
        };
        Self { code, message: error.to_string(), records: Vec::new(), error: kafka }
    }
}

impl Inspector {
    pub(crate) fn new(
        resource: &Arc<Resource>,
        checkers: Vec<(u32, Checker)>,
        decompressed_bytes_max: usize,
        scratches: Arc<Scratches>,
    ) -> Self {
        Self { resource: Arc::clone(resource), checkers, decompressed_bytes_max, scratches }
    }

    /// Reads every record of a producer's batch, which arrives `now`. The permit is the proof that the caller may publish.
    pub(crate) fn inspect(
        &self,
        _permit: &PublishPermit,
        key: &SubjectKey,
        records: &Bytes,
        now: Timestamp,
    ) -> Result<Accepted, Refusal> {
        let batch = Batch::of_producer(records)?;
        // The record store searches by the latest time that the batch itself states.
        check_time(batch.header().max_timestamp, now)
            .map_err(|what| Refusal::whole("batch-malformed", format!("the batch's latest time {what}")))?;
        let mut accepted = Accepted {
            records: batch.header().records_count,
            bytes: u64::try_from(records.len()).unwrap_or(u64::MAX),
            sha256: Sha256::digest(records).into(),
            ..Accepted::empty(key.year())
        };
        let broken = self.scratches.with(|scratch| -> Result<Vec<RecordRefusal>, BatchError> {
            let mut broken = Vec::new();
            let mut checked = Checked::default();
            let mut latest = NO_TIMESTAMP;
            for (index, record) in (0..).zip(batch.records(scratch, self.decompressed_bytes_max)?) {
                let record = record?;
                // Deltas count from 0 without gaps, or the offsets in the answer would name other records.
                if record.offset - batch.header().base_offset != i64::from(index) {
                    return Err(BatchError::Record { index, what: "its offset is out of turn" });
                }
                latest = latest.max(record.timestamp);
                let held = check_time(record.timestamp, now)
                    .map_err(|what| format!("its time {what}"))
                    .and_then(|()| self.record(&record, index, key, &mut checked, &mut accepted));
                if let Err(message) = held {
                    broken.push(RecordRefusal { index, message });
                    if broken.len() == RECORD_ERRORS_MAX {
                        break;
                    }
                }
            }
            // A search by time believes the batch. Sarama's state no time at all.
            let stated = batch.header().max_timestamp;
            if broken.is_empty() && stated != NO_TIMESTAMP && stated != latest {
                return Err(BatchError::Record { index: 0, what: LATEST_WRONG });
            }
            Ok(broken)
        })?;
        let Some(first) = broken.first() else { return Ok(accepted) };
        let more = if broken.len() == RECORD_ERRORS_MAX { "at least " } else { "" };
        let message = format!(
            "the batch is refused whole: {more}{} of its {} records break a rule; record {}: {}",
            broken.len(),
            accepted.records,
            first.index,
            first.message
        );
        Err(Refusal { code: "record-rule", message, records: broken, error: ResponseError::InvalidRecord })
    }

    /// Describes the stored records from one offset to another, both inclusive.
    pub(crate) fn describe(
        &self,
        key: &SubjectKey,
        records: &Bytes,
        first: i64,
        last: i64,
    ) -> Result<Described, BatchError> {
        let mut described = Described::default();
        let mut checked = Checked::default();
        for batch in batches(records) {
            let batch = batch?;
            described.covered_to = Some(batch.header().last_offset());
            if batch.header().is_control() {
                continue;
            }
            self.scratches.with(|scratch| -> Result<(), BatchError> {
                for record in batch.records(scratch, self.decompressed_bytes_max)? {
                    let record = record?;
                    if (first..=last).contains(&record.offset) {
                        self.describe_record(key, &record, &mut checked, &mut described);
                    }
                }
                Ok(())
            })?;
        }
        Ok(described)
    }

    fn describe_record(
        &self,
        key: &SubjectKey,
        record: &Record<'_>,
        checked: &mut Checked,
        described: &mut Described,
    ) {
        let mut accepted = Accepted::empty(key.year());
        if let Err(message) = self.record(record, 0, key, checked, &mut accepted) {
            // It was checked on its way in, so the directory has changed since. It is there all the same.
            tracing::warn!(resource = %self.resource.name, offset = record.offset, "a stored record: {message}");
        }
        described.offsets.push(record.offset);
        described.subjects.extend(accepted.subjects.into_iter().map(|(_, mac)| (record.offset, mac)));
        for id in accepted.schemas {
            if !described.schemas.contains(&id) {
                described.schemas.push(id);
            }
        }
    }

    fn record(
        &self,
        record: &Record<'_>,
        index: i32,
        key: &SubjectKey,
        checked: &mut Checked,
        accepted: &mut Accepted,
    ) -> Result<(), String> {
        let record_key = record.key.filter(|key| !key.is_empty()).ok_or("it has no key")?;
        if record_key.len() > KEY_BYTES_MAX {
            return Err(format!("its key is over {KEY_BYTES_MAX} bytes"));
        }
        let before = self.headers(record)?;
        let mut note = |checked: &Checked| {
            for subject in checked.subjects() {
                let mac = key.mac(subject);
                // A record and its `before` are mostly about the same subjects: each is listed once.
                let mut of_record = accepted.subjects.iter().rev().take_while(|(at, _)| *at == index);
                if !of_record.any(|(_, known)| *known == mac) {
                    accepted.subjects.push((index, mac));
                }
            }
        };
        if let Some(value) = record.value {
            let id = self.framed(value, record_key, checked)?;
            note(checked);
            if !accepted.schemas.contains(&id) {
                accepted.schemas.push(id);
            }
        }
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            self.framed(before, record_key, checked).map_err(|what| format!("header `before`: {what}"))?;
            note(checked);
        }
        Ok(())
    }

    /// Checks the headers against the closed list; gives `before`.
    fn headers<'a>(&self, record: &Record<'a>) -> Result<Option<&'a [u8]>, String> {
        let mut before = None;
        let mut seen = 0_u32;
        for header in record.headers.iter() {
            let Some(place) = ALLOWED.iter().position(|allowed| *allowed == header.name) else {
                // The message goes into logs: a line feed in the name must not begin a line there.
                let name = String::from_utf8_lossy(header.name);
                let name: String = name.chars().take(40).flat_map(char::escape_debug).collect();
                return Err(format!(
                    "header `{name}` is not allowed: source-time, batch, correction, traceparent and before are"
                ));
            };
            if seen & (1 << place) != 0 {
                return Err(format!("header `{}` stands twice", String::from_utf8_lossy(header.name)));
            }
            seen |= 1 << place;
            let name = String::from_utf8_lossy(header.name);
            let value = header.value.unwrap_or_default();
            if header.name == BEFORE {
                before = Some(value);
            } else if String::from_utf8_lossy(value).chars().any(char::is_control) {
                return Err(format!("header `{name}` has a control character"));
            } else if value.len() > HEADER_BYTES_MAX {
                return Err(format!("header `{name}` is over {HEADER_BYTES_MAX} bytes"));
            }
        }
        if before.is_none() && self.resource.before_on_every_record() {
            return Err(
                "header `before` is missing: resource allows row filters, so every record carries the row \
                        before it, or nothing for a new row"
                    .to_owned(),
            );
        }
        // Without the row, a consumer whose filter it had passed would keep it, and no trace would find the deletion.
        if record.value.is_none()
            && self.resource.before_on_deletions()
            && before.is_none_or(<[u8]>::is_empty)
        {
            let what = if before.is_none() { "missing" } else { "empty" };
            return Err(format!("header `before` is {what}: a deletion carries the row that it deletes"));
        }
        Ok(before)
    }

    /// Checks a framed body: a registered version of the resource, every rule, the record's key.
    fn framed(&self, value: &[u8], record_key: &[u8], checked: &mut Checked) -> Result<u32, String> {
        let (id, body) = frame::split(value).map_err(|error| error.to_string())?;
        let checker = self.checkers.iter().find(|(known, _)| *known == id).map(|(_, checker)| checker);
        let checker =
            checker.ok_or_else(|| format!("schema id {id} is not a version of `{}`", self.resource.name))?;
        checker.check(body, checked).map_err(|breach| breach.to_string())?;
        if checked.key() != record_key {
            return Err(format!("the record's key is not its item `{}`", self.resource.key));
        }
        Ok(id)
    }
}

/// Whether a record may be of that time, in milliseconds.
fn check_time(timestamp_ms: i64, now: Timestamp) -> Result<(), &'static str> {
    if timestamp_ms > now.as_millis().saturating_add(AHEAD_MS_MAX) {
        Err("is more than an hour ahead of the hub's clock")
    } else if timestamp_ms < 0 && timestamp_ms != NO_TIMESTAMP {
        Err("is before 1970")
    } else {
        Ok(())
    }
}
