//! Closing, dropping and compacting segments when it is due. Sleeps until the next due moment or a notification.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::log::partition::{LogContext, Partition};
use crate::topics::Topics;

/// After a failure (a full disk, say) nothing is tried for this long.
const REST: Duration = Duration::from_mins(1);
/// The longest sleep; the wall clock may have been set meanwhile.
const SLEEP_MAX: Duration = Duration::from_hours(24);

/// Runs until `stop`.
pub(crate) fn start(context: &Arc<LogContext>, topics: Arc<Topics>, stop: CancellationToken) {
    let owned = Arc::clone(context);
    context.tracker.spawn(async move {
        tokio::select! {
            () = run(&owned, &topics) => {}
            () = stop.cancelled() => {}
        }
    });
}

async fn run(context: &LogContext, topics: &Topics) {
    loop {
        let partitions: Vec<Arc<Partition>> =
            topics.all().iter().flat_map(|topic| topic.partitions()).collect();
        let now_ms = context.now_ms();
        let work = context.tracker.spawn_blocking(move || work(&partitions, now_ms));
        let Ok((failed, next_ms)) = work.await else { return };
        if failed {
            tokio::time::sleep(REST).await;
            continue;
        }
        let sleep = next_ms.map_or(SLEEP_MAX, |at| {
            let ms = at.saturating_sub(context.now_ms());
            Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(SLEEP_MAX)
        });
        tokio::select! {
            () = context.maintenance.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Does what is due. Whether some of it failed, and when something is due next.
fn work(partitions: &[Arc<Partition>], now_ms: i64) -> (bool, Option<i64>) {
    let mut failed = false;
    let mut next_ms: Option<i64> = None;
    for partition in partitions {
        if partition.due_ms(now_ms).is_some_and(|at| at <= now_ms)
            && let Err(error) = partition.maintain(now_ms)
        {
            tracing::error!(topic = %partition.topic, partition = partition.index, %error,
                "cannot maintain a log; it is tried again later");
            failed = true;
        }
        next_ms = next_ms.into_iter().chain(partition.due_ms(now_ms)).min();
    }
    (failed, next_ms)
}
