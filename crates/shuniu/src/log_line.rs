//! The log's lines: one event is one line, whatever it tells of clients.

use std::io::{self, Write};

use shuniu_archive::TRACED;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

use crate::config::LogLevel;
use crate::telemetry::Traces;

/// How much is logged, which can change.
pub struct Level {
    /// What the command line says; it goes before the configuration.
    asked: Option<LevelFilter>,
    handle: reload::Handle<LevelFilter, Registry>,
}

/// Starts logging to standard error: as the command line says, or the configuration. What is traced goes elsewhere.
pub(crate) fn start(asked: Option<LevelFilter>, configured: LogLevel, traces: Option<&Traces>) -> Level {
    let (level, handle) = reload::Layer::new(asked.unwrap_or(filter(configured)));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Lines(io::stderr))
        .with_ansi(false)
        .with_filter(level)
        .with_filter(filter_fn(|metadata| metadata.target() != TRACED));
    tracing_subscriber::registry().with(lines).with(traces.map(Traces::layer)).init();
    Level { asked, handle }
}

impl Level {
    /// Logs as much as the configuration says, unless the command line says otherwise.
    pub(crate) fn set(&self, configured: LogLevel) {
        if self.asked.is_none()
            && let Err(error) = self.handle.reload(filter(configured))
        {
            tracing::error!(%error, "the log's level cannot be changed");
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Writers of events, each as one line: what moves a terminal within it is written as its escape. Header names, topics,
/// group ids, client ids and paths come from clients, and one with a line feed must not write a line of its own.
struct Lines<M>(M);

struct Line<W>(W);

impl<'a, M, W> MakeWriter<'a> for Lines<M>
where
    M: Fn() -> W + 'a,
    W: Write,
{
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line((self.0)())
    }
}

impl<W: Write> Write for Line<W> {
    /// An event comes whole, with the line feed that ends it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        if text.iter().any(|byte| byte.is_ascii_control() || LEADS.contains(byte)) {
            self.0.write_all(shuniu_model::shown(&String::from_utf8_lossy(text)).as_bytes())?;
            self.0.write_all(event.get(text.len()..).unwrap_or_default())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The first bytes in UTF-8 of U+0080 to U+00BF, among them terminals' other control characters, and of U+2000 to U+2FFF,
/// among them those that turn the direction of writing.
const LEADS: [u8; 2] = [0xc2, 0xe2];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_client_says_begins_no_line_of_the_log() {
        let written = Written::default();
        let out = written.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(Lines(move || out.clone())).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            let said = "x\n2026-01-01 ERROR all is lost\r\u{1b}[2J\u{9b}2J";
            tracing::info!(topic = said, shown = %said, "a client said {said}");
            tracing::info!("turned \u{202e}back");
            tracing::info!("文 é");
        });
        let bytes = written.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let log = String::from_utf8(bytes).unwrap();
        assert_eq!(log.lines().count(), 3, "{log}");
        assert_eq!(log.chars().filter(|character| character.is_control()).count(), 3, "{log:?}");
        assert!(log.contains("a client said x\\n2026-01-01 ERROR all is lost\\r"), "{log}");
        assert!(log.contains("turned \\u{202e}back\n"), "{log}");
        assert!(log.ends_with("文 é\n"), "{log}");
    }
}
