//! What is counted of a door. Labels are of closed lists: never what a client chose.

use std::time::Duration;

/// Counts of one door, by the value of its label `door`.
#[derive(Debug, Clone, Copy)]
pub struct DoorMeter(&'static str);

/// A connection that is open; counted down when dropped.
pub struct OpenConnection(&'static str);

impl DoorMeter {
    /// Of the door of that label.
    #[must_use]
    pub const fn new(door: &'static str) -> Self {
        Self(door)
    }

    /// Its label.
    #[must_use]
    pub fn door(self) -> &'static str {
        self.0
    }

    /// A connection is open from here on.
    #[must_use]
    pub fn open(self) -> OpenConnection {
        metrics::gauge!("shuniu_connections", "door" => self.0).increment(1.0);
        OpenConnection(self.0)
    }

    /// A connection came, and was let in (`served`) or not, and why.
    pub fn connection(self, outcome: &'static str) {
        metrics::counter!("shuniu_connections_total", "door" => self.0, "outcome" => outcome).increment(1);
    }

    /// A request was answered, or its connection closed or cut instead. `api` is of the door's table, or `unknown`.
    pub fn request(self, api: String, outcome: &'static str, elapsed: Duration) {
        metrics::histogram!("shuniu_request_seconds", "door" => self.0, "api" => api.clone()).record(elapsed);
        metrics::counter!("shuniu_requests_total", "door" => self.0, "api" => api, "outcome" => outcome)
            .increment(1);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        metrics::gauge!("shuniu_connections", "door" => self.0).decrement(1.0);
    }
}
