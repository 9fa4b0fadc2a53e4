//! The topics that one request was refused, noted together: a request that names thousands is a few refusals with their
//! numbers.

use std::collections::BTreeMap;

use shuniu_policy::{Code, Denial};

use crate::access::TopicRef;
use crate::caller::Caller;
use crate::hub::Hub;

/// Different names that the directory does not have which are told apart in one request.
const INVENTED_MAX: usize = 100;

/// The topics that one request was refused; they are noted when this is dropped, however the request goes on.
pub(crate) struct RefusedTopics<'a> {
    hub: &'a Hub,
    caller: &'a Caller,
    asked: &'static str,
    told_apart: BTreeMap<String, (Denial, u64)>,
    invented: usize,
    rest: Option<(Denial, u64)>,
}

impl<'a> RefusedTopics<'a> {
    /// Of a request of that name.
    pub(crate) fn new(hub: &'a Hub, caller: &'a Caller, asked: &'static str) -> Self {
        Self { hub, caller, asked, told_apart: BTreeMap::new(), invented: 0, rest: None }
    }

    /// One topic was refused.
    pub(crate) fn note(&mut self, topic: &TopicRef, denial: &Denial) {
        let name = topic.to_string();
        if let Some((_, count)) = self.told_apart.get_mut(&name) {
            *count += 1;
            return;
        }
        // Names that the directory has are told apart, all of them: it bounds them.
        if denial.code() == Code::UnknownResource {
            if self.invented >= INVENTED_MAX {
                self.rest.get_or_insert_with(|| (denial.clone(), 0)).1 += 1;
                return;
            }
            self.invented += 1;
        }
        self.told_apart.insert(name, (denial.clone(), 1));
    }
}

impl Drop for RefusedTopics<'_> {
    fn drop(&mut self) {
        for (name, (denial, count)) in std::mem::take(&mut self.told_apart) {
            self.hub.refused(self.caller, &format!("{} {name}", self.asked), &denial, count);
        }
        if let Some((denial, count)) = self.rest.take() {
            let asked = format!("{} more names than are told apart in one request", self.asked);
            self.hub.refused(self.caller, &asked, &denial, count);
        }
    }
}
