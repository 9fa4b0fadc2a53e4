//! The leader epochs of a partition. There is one leader here and it never changes; a new epoch begins where a log was
//! restored from a backup and goes on without what it had held. Clients that were further hear of it as they hear of a
//! truncation: their epoch ended before their place.

use shuniu_wire::messages::ResponseError;

/// The epochs after 0, which begins with the log, and where each begins. Both rise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<(i32, i64)>);

impl Epochs {
    /// Takes the next epoch up, in their order.
    pub(crate) fn push(&mut self, epoch: i32, start: i64) {
        self.0.push((epoch, start));
    }

    /// The epoch of what is appended now.
    pub(crate) fn now(&self) -> i32 {
        self.0.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// The epoch of this offset.
    pub(crate) fn at(&self, offset: i64) -> i32 {
        self.0.iter().rfind(|(_, start)| *start <= offset).map_or(0, |(epoch, _)| *epoch)
    }

    /// What there is of an epoch or, where it had no record, of the one before: its number, and the offset after its
    /// last. `None` for one that is still to come.
    pub(crate) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch < 0 || epoch > self.now() {
            return None;
        }
        let next = self.0.partition_point(|(known, _)| *known <= epoch);
        let found = next.checked_sub(1).and_then(|place| self.0.get(place)).map_or(0, |(known, _)| *known);
        Some((found, self.0.get(next).map_or(log_end, |(_, start)| *start)))
    }

    /// Whether a client knows who leads; -1 asks for no check.
    pub(crate) fn check(&self, current: i32) -> Result<(), ResponseError> {
        match current {
            -1 => Ok(()),
            known if known == self.now() => Ok(()),
            known if known > self.now() => Err(ResponseError::UnknownLeaderEpoch),
            _ => Err(ResponseError::FencedLeaderEpoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let only = Epochs::default();
        assert_eq!(
            (only.now(), only.at(7), only.end_of(0, 9), only.end_of(1, 9)),
            (0, 0, Some((0, 9)), None)
        );
        assert_eq!((only.check(-1), only.check(0)), (Ok(()), Ok(())));
        assert_eq!(only.check(1), Err(ResponseError::UnknownLeaderEpoch));
        assert_eq!(only.check(-2), Err(ResponseError::FencedLeaderEpoch));
        let mut epochs = Epochs::default();
        epochs.push(1, 10);
        epochs.push(3, 20);
        assert_eq!((epochs.at(9), epochs.at(10), epochs.at(19), epochs.at(20)), (0, 1, 1, 3));
        assert_eq!((epochs.end_of(0, 30), epochs.end_of(1, 30)), (Some((0, 10)), Some((1, 20))));
        assert_eq!((epochs.end_of(2, 30), epochs.end_of(3, 30)), (Some((1, 20)), Some((3, 30))));
        assert_eq!(epochs.end_of(4, 30), None);
        assert_eq!((epochs.check(3), epochs.check(0)), (Ok(()), Err(ResponseError::FencedLeaderEpoch)));
    }
}
