//! LeaveGroup.

use shuniu_wire::messages::ResponseError;
use tokio::time::Instant;

use super::state::Group;

impl Group {
    /// One member leaves; a static one may be named by its instance alone.
    pub(super) fn leave(
        &mut self,
        member: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if self.pending.remove(member.as_bytes()).is_some() {
            self.end_join_if_all_have(now);
            return Ok(());
        }
        let id = match (member, instance) {
            ("", Some(instance)) => {
                self.instances.get(instance.as_bytes()).cloned().ok_or(ResponseError::UnknownMemberId)?
            }
            _ => self.member_checked(member, instance)?.id.clone(),
        };
        self.remove(&id, now);
        Ok(())
    }
}
