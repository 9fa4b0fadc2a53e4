//! The hub's place in tests: a log, and a sink that applies it.

use super::*;

/// What was sent, in order, and the table that a sink makes of it.
pub(super) struct Recorder {
    pub(super) log: Vec<Change>,
    pub(super) batches: Vec<Batch>,
    /// Key to body, as a sink holds it.
    pub(super) sink: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) schema: String,
    /// Sends fail once so many records are in: those within the send before it are on the topic, unacknowledged.
    pub(super) fails_at: Option<usize>,
    /// Offsets that hold no record, at the end of the log.
    pub(super) passed_over: i64,
    /// Keys that are refused.
    pub(super) refuses: Vec<Vec<u8>>,
    replayed: bool,
    pub(super) replays: usize,
}

impl Recorder {
    pub(super) fn new(schema: &str) -> Self {
        Self {
            log: Vec::new(),
            batches: Vec::new(),
            sink: BTreeMap::new(),
            schema: schema.into(),
            fails_at: None,
            passed_over: 0,
            refuses: Vec::new(),
            replayed: false,
            replays: 0,
        }
    }

    /// The sink's rows: key to the items' texts.
    pub(super) fn table(&self) -> HashMap<String, Vec<String>> {
        let shape = Shape::parse(&self.schema).unwrap();
        let row = |body: &[u8]| {
            let values = shape.values_of(body).unwrap();
            values.iter().map(|value: &Value<'_>| value.to_text().unwrap_or_default().into_owned()).collect()
        };
        self.sink.iter().map(|(key, body)| (String::from_utf8(key.clone()).unwrap(), row(body))).collect()
    }

    /// The topic as it was after its first `kept` records, restored from a backup.
    pub(super) fn restore(&mut self, kept: usize) {
        let log: Vec<Change> = self.log.drain(..kept).collect();
        self.log.clear();
        self.sink.clear();
        log.iter().for_each(|change| self.take(change));
        self.passed_over += 1 << 30;
    }

    fn take(&mut self, change: &Change) {
        // The hub's rule: `before` is what the topic holds, and is empty only where it holds nothing.
        assert_eq!(change.before.as_ref().map(|(_, body)| body), self.sink.get(&change.key));
        match &change.after {
            Some(body) => self.sink.insert(change.key.clone(), body.clone()),
            None => self.sink.remove(&change.key),
        };
        self.log.push(change.clone());
    }
}

impl Publisher for Recorder {
    async fn schema_id(&mut self) -> Result<u32, PublishError> {
        Ok(7)
    }

    async fn schema(&mut self, id: u32) -> Result<String, PublishError> {
        assert_eq!(id, 7);
        Ok(self.schema.clone())
    }

    async fn log_end(&mut self) -> Result<i64, PublishError> {
        Ok(i64::try_from(self.log.len()).unwrap() + self.passed_over)
    }

    async fn replay(&mut self) -> Result<Option<Vec<Replayed>>, PublishError> {
        self.replayed = !self.replayed;
        self.replays += usize::from(self.replayed);
        let record = |change: &Change| Replayed {
            key: change.key.clone(),
            value: change.after.clone().map(|body| (7, body)),
        };
        Ok(self.replayed.then(|| self.log.iter().map(record).collect()))
    }

    async fn send(&mut self, batch: &Batch, changes: &[(i64, Change)]) -> Result<Vec<Refused>, PublishError> {
        self.batches.push(batch.clone());
        let mut refused = Vec::new();
        for (position, (_, change)) in changes.iter().enumerate() {
            if self.fails_at.is_some_and(|at| self.log.len() >= at) {
                self.fails_at = None;
                return Err(PublishError::Silent { attempted: "send", seconds: 1 });
            }
            if self.refuses.contains(&change.key) {
                refused.push(Refused { position, reason: "item `a`: wrong".into() });
            } else {
                self.take(change);
            }
        }
        Ok(refused)
    }
}
