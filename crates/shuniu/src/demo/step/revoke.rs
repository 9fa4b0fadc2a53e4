//! A grant is revoked while its consumer reads.

use std::time::Instant;

use tokio::sync::oneshot;

use super::super::DemoError;
use super::super::reader::{self, End, Reading};
use super::super::stage::Stage;
use crate::figure::figure;

/// The promise: a revoked grant stops within a second.
const STOP_MILLISECONDS_MAX: u128 = 1_000;
const PARTITIONS: i32 = 4;
const GRANT: &str = "id = \"bank-population\"\n";

pub(in crate::demo) async fn run(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("A revocation while a consumer reads");
    let identity = stage.identity("bank-supervisor");
    let (sender, under_way) = oneshot::channel();
    let reading = reader::read_until_stopped(&identity, "population", PARTITIONS, sender);
    let revoking = async {
        // An error means that the reading has ended before its first record: then `reading` says why.
        under_way.await.ok();
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        revoke(stage).await
    };
    let (reading, revoked) = tokio::join!(reading, revoking);
    let reading = reading.map_err(DemoError::Client)?;
    let (started, done) = revoked?;
    tell(stage, &reading, started, done);
    Ok(())
}

/// Applies the directory file with the grant revoked; when that was started and when it was done.
async fn revoke(stage: &Stage) -> Result<(Instant, Instant), DemoError> {
    let path = stage.home.path("config/directory.toml");
    let text =
        std::fs::read_to_string(&path).map_err(|source| DemoError::File { path: path.clone(), source })?;
    let text = text.replacen(GRANT, &format!("{GRANT}state = \"revoked\"\n"), 1);
    stage.home.write("config/directory.toml", text.as_bytes()).map_err(DemoError::Home)?;
    let started = Instant::now();
    let applied = stage.run(&["directory", "apply", "config/directory.toml", "--data", "data"]).await?;
    let done = Instant::now();
    if applied.succeeded {
        Ok((started, done))
    } else {
        Err(DemoError::Command { command: "directory apply".to_owned(), complaint: applied.complaint })
    }
}

fn tell(stage: &mut Stage, reading: &Reading, started: Instant, done: Instant) {
    let narrator = &mut stage.narrator;
    narrator.say(format_args!(
        "bank-supervisor reads population round and round: {} bytes until the end.",
        figure(reading.bytes)
    ));
    narrator.say(format_args!(
        "`shuniu directory apply` with the grant revoked took {} ms.",
        done.duration_since(started).as_millis()
    ));
    let after = reading.last_byte.saturating_duration_since(done).as_millis();
    narrator.check(
        after <= STOP_MILLISECONDS_MAX,
        format_args!("the last byte came {after} ms after the command was done (promised: at most 1,000 ms)"),
    );
    match &reading.end {
        End::Cut(error) => narrator.say(format_args!("The connection was cut: {error}.")),
        End::Refused(code) => narrator.say(format_args!("The next request was refused: Kafka error {code}.")),
    }
}
