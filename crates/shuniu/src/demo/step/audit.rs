//! The log: what it says of a person, and that nobody can change it unnoticed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::DemoError;
use super::super::stage::Stage;

pub(in crate::demo) async fn run(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("The audit log");
    // A checkpoint follows its oldest entry by half a second at most.
    tokio::time::sleep(Duration::from_secs(1)).await;
    search(stage, "Refusals on the log", &["--outcome", "refused"]).await?;
    search(stage, "What left to hall-jiangbei", &["--grant", "jiangbei-population", "--action", "delivered"])
        .await?;
    if let Some(mover) = stage.synth.mover() {
        trace(stage, mover.as_str()).await?;
    }
    let verified = stage.run(&["audit", "verify", "data/audit"]).await?;
    for line in verified.output.lines() {
        stage.narrator.say(line);
    }
    stage.narrator.check(verified.succeeded, "`shuniu audit verify` holds the whole log good");
    let copy = tampered(stage)?;
    let verified = stage.run(&["audit", "verify", "tampered", "--key", "data/audit/audit.pub"]).await?;
    stage.narrator.say(format_args!("A copy of the log with one bit of {copy} turned:"));
    for line in verified.complaint.lines().chain(verified.output.lines()).take(6) {
        stage.narrator.say(format_args!("   {line}"));
    }
    stage.narrator.check(!verified.succeeded, "`shuniu audit verify` finds it");
    Ok(())
}

/// The last lines of a search.
async fn search(stage: &mut Stage, title: &str, conditions: &[&str]) -> Result<(), DemoError> {
    const SHOWN: usize = 4;
    let arguments: Vec<&str> =
        ["audit", "search", "--data", "data"].iter().chain(conditions).copied().collect();
    let found = stage.run(&arguments).await?;
    let lines: Vec<&str> = found.output.lines().collect();
    stage.narrator.say(format_args!(
        "{title} (`shuniu {}`), {} lines, the last of them:",
        arguments.join(" "),
        lines.len()
    ));
    for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
        stage.narrator.say(format_args!("   {line}"));
    }
    stage.narrator.check(found.succeeded && !lines.is_empty(), "there are such entries");
    Ok(())
}

/// Who got the record of the one who moved.
async fn trace(stage: &mut Stage, number: &str) -> Result<(), DemoError> {
    stage.narrator.say(format_args!("Who got the record of {number} (`shuniu audit trace {number}`):"));
    let traced = stage.run(&["audit", "trace", number, "--data", "data"]).await?;
    for line in traced.output.lines() {
        stage.narrator.say(format_args!("   {line}"));
    }
    let carried = ["yuzhong-population", "jiangbei-population", "bank-population"]
        .iter()
        .all(|grant| traced.output.contains(&format!("grant={grant}")));
    stage.narrator.check(traced.succeeded && carried, "the trace names both halls and the supervisor");
    Ok(())
}

/// Copies the log and turns one bit in the middle of an entry tile; which file that is.
fn tampered(stage: &Stage) -> Result<String, DemoError> {
    let (from, to) = (stage.home.hub().join("audit"), stage.home.path("tampered"));
    copy_tree(&from, &to)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DemoError::File { path, source }
    };
    let mut tiles = Vec::new();
    find_files(&to.join("tile/entries"), &mut tiles)?;
    // A whole tile, or the widest of those that were still growing: earlier ones are no longer looked at.
    tiles.sort_by_key(|tile| (!is_whole(tile), std::cmp::Reverse(width(tile))));
    let Some(tile) = tiles.first() else {
        return Err(DemoError::File { path: to, source: std::io::ErrorKind::NotFound.into() });
    };
    let mut bytes = fs::read(tile).map_err(failed(tile))?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(tile, bytes).map_err(failed(tile))?;
    Ok(tile.strip_prefix(&to).unwrap_or(tile).display().to_string())
}

fn is_whole(tile: &Path) -> bool {
    !tile.to_string_lossy().contains(".p/")
}

/// Of a tile that is not whole, its entries: the file's name.
fn width(tile: &Path) -> u64 {
    tile.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).unwrap_or_default()
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), DemoError> {
    let mut files = Vec::new();
    find_files(from, &mut files)?;
    for file in files {
        let target = to.join(file.strip_prefix(from).unwrap_or(&file));
        let failed = |source| DemoError::File { path: target.clone(), source };
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::copy(&file, &target).map_err(failed)?;
    }
    Ok(())
}

fn find_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), DemoError> {
    let failed = |source| DemoError::File { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() { find_files(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
