//! The one place where the time is read.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use shuniu_model::{Clock, Timestamp};

/// The machine's clock.
#[must_use]
pub fn system() -> Clock {
    Arc::new(now)
}

#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
