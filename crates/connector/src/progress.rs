//! Progress bars, on a terminal only.

use std::path::Path;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress is shown.
pub(crate) struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Nothing is drawn where it is not wanted or the error output is no terminal.
    pub(crate) fn new(is_shown: bool) -> Self {
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target) }
    }

    /// Rows read; how many there are is not known before.
    pub(crate) fn rows(&self, path: &Path) -> ProgressBar {
        self.bar(ProgressBar::no_length(), path, "{msg}: {human_pos} rows read, {per_sec}")
    }

    /// Changes sent.
    pub(crate) fn changes(&self, path: &Path, count: u64) -> ProgressBar {
        self.bar(
            ProgressBar::new(count),
            path,
            "{msg}: {bar:30} {human_pos} of {human_len} changes sent, {per_sec}",
        )
    }

    /// Records written to a table.
    pub(crate) fn records(&self, table: &str) -> ProgressBar {
        self.bar(ProgressBar::no_length(), Path::new(table), "{msg}: {human_pos} records, {per_sec}")
    }

    fn bar(&self, bar: ProgressBar, path: &Path, template: &str) -> ProgressBar {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bar = self.bars.add(bar).with_message(name);
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}
