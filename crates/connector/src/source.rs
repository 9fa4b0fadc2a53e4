//! A source's run: each file is read, compared with what was sent last, and its changes are sent.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::avro::Shape;
use crate::config::{Coverage, Duplicates, Source};
use crate::error::{ConnectorError, RefusedRow};
use crate::files;
use crate::kafka::RESTORED_OFFSETS;
use crate::mapping::{Breach, Mapping};
use crate::progress::Progress;
use crate::publish::{Batch, Change, Publisher};
use crate::reject::{Reject, Rejects};
use crate::report::{AbsentItem, FileReport, Report};
use crate::rows::{FileDigest, FileError, Rows};
use crate::state::{Difference, Staged, State};

/// Rows handed over at a time from the thread that reads.
const ROWS_PER_HANDOVER: u64 = 1_000;

/// Changes sent, acknowledged and noted at a time.
const CHANGES_PER_STEP: i64 = 10_000;

/// Refused records that the error names.
const REFUSED_NAMED_MAX: usize = 20;

/// A row's place is its number, and above it its file's among those that are compared as one.
const ROW_BITS: u32 = 40;

fn row_of(place: u64) -> u64 {
    place & ((1 << ROW_BITS) - 1)
}

pub(crate) struct Run<'a, P> {
    pub(crate) source: Arc<Source>,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) state: &'a mut State,
    pub(crate) publisher: &'a mut P,
    /// One file may delete more than its share; taken by the first that does.
    pub(crate) confirmed: bool,
    pub(crate) progress: &'a Progress,
    pub(crate) cancel: &'a CancellationToken,
}

/// Files that are compared as one.
struct Step {
    files: Vec<(PathBuf, FileDigest)>,
}

/// What the reading thread found in some rows.
#[derive(Default)]
struct Handover {
    rows: u64,
    staged: Vec<Staged>,
    rejects: Vec<Reject>,
    /// Rows without each mandatory item.
    absent: Vec<u64>,
}

impl<P: Publisher> Run<'_, P> {
    /// Looks at every file once.
    pub(crate) async fn once(mut self) -> Result<Report, ConnectorError> {
        let mut report = Report::default();
        let schema = self.publisher.schema_id().await?;
        let identity = format!("{}\n{}", self.source.resource, self.mapping.likeness_rule());
        let log_end = self.publisher.log_end().await?;
        let known_end = self.state.log_end().await?;
        // A topic that is shorter than it was is another one; one that jumped was restored from a backup, and lacks what
        // was sent since.
        let is_another = log_end < known_end || log_end - known_end >= RESTORED_OFFSETS;
        if is_another || !self.state.is_settled(&identity).await? {
            report.recovered = Some(self.recover(&identity, log_end, is_another).await?);
        }
        let is_found = self.state.is_found().await?;
        for step in self.steps(is_found).await? {
            self.step(&step, schema, &mut report).await?;
        }
        Ok(report)
    }

    /// Builds what was sent last from the topic. From `another` topic than was sent to, nothing can be told of which files
    /// it has.
    async fn recover(
        &mut self,
        identity: &str,
        log_end: i64,
        is_another: bool,
    ) -> Result<u64, ConnectorError> {
        let mut shapes: HashMap<u32, Shape> = HashMap::new();
        self.state.replay().await?;
        while let Some(records) = self.publisher.replay().await? {
            let mut known = Vec::with_capacity(records.len());
            for record in records {
                let Some((schema, body)) = &record.value else {
                    known.push((record, None));
                    continue;
                };
                if !shapes.contains_key(schema) {
                    let shape = Shape::parse(&self.publisher.schema(*schema).await?);
                    shapes.insert(*schema, shape.map_err(|source| ConnectorError::foreign(*schema, source))?);
                }
                let likeness = match shapes.get(schema) {
                    Some(shape) => self.mapping.likeness(shape, body),
                    None => continue,
                };
                let likeness = likeness.map_err(|source| ConnectorError::foreign(*schema, source))?;
                known.push((record, Some(likeness)));
            }
            self.state.replay_records(&known).await?;
        }
        Ok(self.state.replayed(identity, log_end, is_another).await?)
    }

    /// What is to be done: from the first file on that is new or changed. Where the topic holds records and nothing
    /// tells which files they came from, history is not played again: the last whole file stands for all before it,
    /// and parts are laid over one another first.
    async fn steps(&mut self, is_found: bool) -> Result<Vec<Step>, ConnectorError> {
        let done = self.state.files().await?;
        let mut files = Vec::new();
        for path in files::resolve(&self.source)? {
            let digest = files::digest(&path)?;
            files.push((path, digest));
        }
        if is_found {
            let coverage = self.source.coverage;
            match coverage {
                Coverage::Whole => return Ok(vec![Step { files: files.pop().into_iter().collect() }]),
                Coverage::Part if self.was_sent(files.first()).await? => return Ok(vec![Step { files }]),
                // Another connector's part of the resource.
                Coverage::Part => {}
            }
        }
        let is_done =
            |(path, digest): &(PathBuf, FileDigest)| done.get(&self.source.name_of(path)) == Some(digest);
        let rest = files.into_iter().skip_while(is_done);
        Ok(rest.map(|file| Step { files: vec![file] }).collect())
    }

    /// Whether the topic holds records of the file.
    async fn was_sent(&mut self, file: Option<&(PathBuf, FileDigest)>) -> Result<bool, ConnectorError> {
        let Some((path, digest)) = file else { return Ok(false) };
        self.state.clear_staged().await?;
        self.read(0, path, digest).await?;
        Ok(self.state.staged_live().await? > 0)
    }

    async fn step(&mut self, step: &Step, schema: u32, report: &mut Report) -> Result<(), ConnectorError> {
        self.state.clear_staged().await?;
        let mut file_reports = Vec::new();
        for (position, (path, digest)) in step.files.iter().enumerate() {
            file_reports.push(self.read(position as u64, path, digest).await?);
        }
        let Some(((path, digest), mut last)) = step.files.last().zip(file_reports.pop()) else {
            return Ok(());
        };
        let difference = self.state.compare(self.source.coverage == Coverage::Whole).await?;
        last.held = self.state.held().await?;
        (last.inserted, last.updated) = (difference.inserts, difference.updates);
        (last.deleted, last.unchanged) = (difference.deletes, difference.unchanged);
        file_reports.iter_mut().for_each(|earlier| earlier.with_next = true);
        report.files.append(&mut file_reports);
        report.files.push(last);
        self.guard(path, &difference, report)?;
        let batch = Batch {
            name: files::batch_name(path, digest),
            source_time: files::source_time(self.source.source_time, path)?,
            schema,
        };
        self.send(path, &batch, &difference).await?;
        // When the same files come in another step order they are done all the same: what counts is what was sent.
        let mut done: Vec<_> =
            step.files.iter().map(|(path, digest)| (self.source.name_of(path), *digest)).collect();
        if step.files.len() == 1 && self.source.coverage == Coverage::Whole {
            done = self.before(path)?.into_iter().chain(done).collect();
        }
        let log_end = self.publisher.log_end().await?;
        self.state.settle(&done, log_end).await?;
        Ok(())
    }

    /// The files up to this one: the last whole file stands for all before it.
    fn before(&self, path: &Path) -> Result<Vec<(String, FileDigest)>, ConnectorError> {
        let earlier = files::resolve(&self.source)?.into_iter().take_while(|file| file != path);
        let noted = earlier.map(|file| Ok((self.source.name_of(&file), files::digest(&file)?)));
        noted.collect()
    }

    /// Stops before anything of the file is sent where it would delete too much.
    fn guard(&mut self, path: &Path, difference: &Difference, report: &Report) -> Result<(), ConnectorError> {
        // Counts of records are far below 2^52.
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more precision")]
        let share = difference.deletes as f64 / difference.live.max(1) as f64;
        if difference.deletes == 0 || share <= self.source.delete_share_max {
            return Ok(());
        }
        if std::mem::take(&mut self.confirmed) {
            return Ok(());
        }
        Err(ConnectorError::Guarded {
            file: path.to_owned(),
            deletes: difference.deletes,
            live: difference.live,
            delete_share_max: self.source.delete_share_max,
            report: Box::new(report.clone()),
        })
    }

    /// Reads a file on a thread of its own and stages what it holds.
    async fn read(
        &mut self,
        position: u64,
        path: &Path,
        digest: &FileDigest,
    ) -> Result<FileReport, ConnectorError> {
        let first_place = position << ROW_BITS;
        let mut rejects = Rejects::new(&self.source.rejects, &self.source.name_of(path))?;
        let mut report = FileReport { file: path.to_owned(), ..FileReport::default() };
        let mut absent = vec![0; self.source.mandatory.len()];
        let before = self.state.staged().await?;
        let (sender, mut receiver) = mpsc::channel(4);
        let (source, mapping, file) = (self.source.clone(), self.mapping.clone(), path.to_owned());
        let reading = tokio::task::spawn_blocking(move || read_rows(&source, &mapping, &file, &sender));
        let bar = self.progress.rows(path);
        let mut staged = 0;
        while let Some(handover) = receiver.recv().await {
            let Handover { rows, staged: mut found, rejects: mut broken, absent: without } = handover;
            report.rows += rows;
            bar.inc(rows);
            found.iter_mut().for_each(|row| row.place += first_place);
            if self.source.duplicates == Duplicates::Reject {
                report.duplicates += self.reject_duplicates(first_place, &mut found, &mut broken).await?;
            }
            staged += found.len() as u64;
            self.state.stage(&found).await?;
            for reject in &broken {
                rejects.add(reject)?;
            }
            let held: Vec<_> = broken.into_iter().filter_map(|reject| reject.breach.key).collect();
            self.state.hold(&held).await?;
            absent.iter_mut().zip(without).for_each(|(all, some): (&mut u64, u64)| *all += some);
        }
        bar.finish();
        let read = reading.await.map_err(|source| ConnectorError::Thread { source })??;
        if read != *digest {
            return Err(FileError::Changed { path: path.to_owned() }.into());
        }
        if self.source.duplicates == Duplicates::Last {
            report.duplicates = staged.saturating_sub(self.state.staged().await?.saturating_sub(before));
        }
        (report.rejected, report.rules, report.rejects) = rejects.finish()?;
        let items = self.source.mandatory.iter().map(|item| item.get_ref().to_string());
        let lacking = items.zip(absent).filter(|(_, rows)| *rows > 0);
        report.absent = lacking.map(|(item, rows)| AbsentItem { item, rows }).collect();
        Ok(report)
    }

    /// Rows whose key was staged before are rejected; the first one stands.
    async fn reject_duplicates(
        &mut self,
        first_place: u64,
        found: &mut Vec<Staged>,
        broken: &mut Vec<Reject>,
    ) -> Result<u64, ConnectorError> {
        let keys: Vec<&[u8]> = found.iter().map(|row| row.key.as_slice()).collect();
        let mut first = self.state.staged_places(first_place, &keys).await?;
        let all = found.len();
        found.retain(|row| match first.get(&row.key) {
            Some(earlier) => {
                let rule = format!("one row for each key, and row {} has this one", row_of(*earlier));
                let breach = Breach { column: None, item: None, shape: String::new(), rule, key: None };
                broken.push(Reject { row: row_of(row.place), at: None, breach });
                false
            }
            None => {
                first.insert(row.key.clone(), row.place);
                true
            }
        });
        Ok((all - found.len()) as u64)
    }

    async fn send(
        &mut self,
        path: &Path,
        batch: &Batch,
        difference: &Difference,
    ) -> Result<(), ConnectorError> {
        let all = difference.inserts + difference.updates + difference.deletes;
        if all == 0 {
            return Ok(());
        }
        self.state.mark_sending().await?;
        let bar = self.progress.changes(path, all);
        let (mut after, mut named, mut refused_rows) = (0, Vec::new(), 0_u64);
        loop {
            if self.cancel.is_cancelled() {
                // All that was sent is acknowledged and noted; the file is not done.
                let log_end = self.publisher.log_end().await?;
                self.state.settle(&[], log_end).await?;
                return Err(ConnectorError::Cancelled);
            }
            let changes = self.state.changes(after, CHANGES_PER_STEP).await?;
            let (Some((first, _)), Some((last, _))) = (changes.first(), changes.last()) else { break };
            let refused = self.publisher.send(batch, &changes).await?;
            refused_rows += refused.len() as u64;
            let of = |position: usize| changes.get(position);
            let numbers: Vec<i64> = refused
                .iter()
                .filter_map(|refused| of(refused.position))
                .map(|(number, _)| *number)
                .collect();
            for refused in refused.into_iter().take(REFUSED_NAMED_MAX - named.len()) {
                let place = of(refused.position).and_then(|(_, change): &(i64, Change)| change.place);
                let row = place.map(row_of);
                named.push(RefusedRow { row, reason: refused.reason });
            }
            self.state.apply(*first, *last, batch.schema, &numbers).await?;
            bar.inc(changes.len() as u64);
            after = *last;
        }
        bar.finish();
        if refused_rows == 0 {
            return Ok(());
        }
        let log_end = self.publisher.log_end().await?;
        self.state.settle(&[], log_end).await?;
        Err(ConnectorError::Refused { file: path.to_owned(), records: refused_rows, named })
    }
}

/// Reads all rows and hands them over; gives the digest of what was read.
fn read_rows(
    source: &Source,
    mapping: &Mapping,
    path: &Path,
    sender: &mpsc::Sender<Handover>,
) -> Result<FileDigest, FileError> {
    let mut rows = Rows::open(source, path)?;
    let columns = rows.columns().to_vec();
    let mut bound = mapping.bind(path, &columns)?;
    let start = || Handover { absent: vec![0; source.mandatory.len()], ..Handover::default() };
    let mut handover = start();
    while let Some(row) = rows.next()? {
        handover.rows += 1;
        match bound.map(&row) {
            Ok(mapped) => {
                for position in mapped.absent {
                    if let Some(count) = handover.absent.get_mut(position) {
                        *count += 1;
                    }
                }
                let (key, body, likeness) = (mapped.key, mapped.body, mapped.likeness);
                handover.staged.push(Staged { key, body, likeness, place: row.number });
            }
            Err(breach) => handover.rejects.push(Reject { row: row.number, at: row.at, breach }),
        }
        if handover.rows >= ROWS_PER_HANDOVER
            && sender.blocking_send(std::mem::replace(&mut handover, start())).is_err()
        {
            // The other side gave up, and says why.
            return Ok([0; 32]);
        }
    }
    // An error means that the other side gave up, and says why.
    let _given_up = sender.blocking_send(handover);
    Ok(rows.digest())
}
