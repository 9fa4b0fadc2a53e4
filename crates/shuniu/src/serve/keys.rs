//! The keys of several hubs on one directory are the same: each hub holds its own against the fingerprints that the
//! directory keeps, and refuses to start with another. With two pseudonym masters a person would have two pseudonyms, with two
//! keys of a year a trace would find half.
//!
//! A year's key of subjects is made by one hub, a month before the year begins: the operator has that long to copy it to
//! the others. A hub never makes one that another has made.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use shuniu_model::{Clock, Timestamp};
use shuniu_store::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::causes::causes;
use crate::keys::{Keys, subjects};
use crate::secret_file::SecretFileError;

const LOOK_EVERY: Duration = Duration::from_hours(1);

/// This hub's keys are not those of the directory.
#[derive(Debug, thiserror::Error)]
pub enum SharedKeysError {
    /// A key cannot be read or made.
    #[error("cannot have the hub's keys")]
    File(#[source] SecretFileError),
    /// The directory does not say which keys its hubs use.
    #[error("cannot hold the hub's keys against those that the directory knows")]
    Store(#[source] StoreError),
    /// Another key of that name is in use.
    #[error(
        "`keys/{name}` is another key than the hubs of this directory use: put the file of one of them, or of a backup, in its place"
    )]
    Other {
        /// The file.
        name: String,
    },
    /// A key that is needed is not here, and another hub has it.
    #[error(
        "`keys/{name}` is missing, and the hubs of this directory use one: copy the file from one of them, or from a backup"
    )]
    Missing {
        /// The file.
        name: String,
    },
}

/// Holds every key against the directory, and makes this year's key of subjects where nobody has.
///
/// # Errors
/// See [`SharedKeysError`].
pub(super) async fn agree(keys: &Keys, store: &Store, now: Timestamp) -> Result<(), SharedKeysError> {
    for (name, own) in keys.fingerprints().map_err(SharedKeysError::File)? {
        // The first hub's keys are the directory's.
        let used = store.claim_key(&name, &own).await.map_err(SharedKeysError::Store)?;
        if used != own {
            return Err(SharedKeysError::Other { name });
        }
    }
    let (year, _) = year_and_month(now);
    ensure(keys, store, year).await
}

/// Sees to it that the next year's key is there in time. `missing` tells of one that has to be copied.
pub(super) async fn keep(
    keys: Keys,
    store: Store,
    clock: Clock,
    missing: Arc<watch::Sender<Option<String>>>,
    cancel: CancellationToken,
) {
    loop {
        let kept = look_ahead(&keys, &store, clock()).await;
        missing.send_replace(kept.as_ref().err().map(|error| causes(error)));
        if let Err(error) = kept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a key of subjects is not there; without it nothing can be published in its year"
            );
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn look_ahead(keys: &Keys, store: &Store, now: Timestamp) -> Result<(), SharedKeysError> {
    let (year, month) = year_and_month(now);
    ensure(keys, store, year).await?;
    if month == 12 { ensure(keys, store, year + 1).await } else { Ok(()) }
}

/// Makes a year's key unless it is there, here or at another hub.
async fn ensure(keys: &Keys, store: &Store, year: u16) -> Result<(), SharedKeysError> {
    let name = subjects(year);
    let made = if keys.has_subjects(year) {
        false
    } else {
        let used = store.key_fingerprints().await.map_err(SharedKeysError::Store)?;
        if used.iter().any(|(used, _)| *used == name) {
            return Err(SharedKeysError::Missing { name });
        }
        keys.make_subjects(year).map_err(SharedKeysError::File)?
    };
    // A crash before the claim leaves a key that nobody has used: the next start claims it, or is told of another.
    let own = keys.fingerprint(&name).map_err(SharedKeysError::File)?;
    if store.claim_key(&name, &own).await.map_err(SharedKeysError::Store)? == own {
        return Ok(());
    }
    if !made {
        return Err(SharedKeysError::Other { name });
    }
    // Another hub was faster: its key is the year's.
    keys.unmake_subjects(year).map_err(SharedKeysError::File)?;
    Err(SharedKeysError::Missing { name })
}

/// In UTC, as a year's key is named.
fn year_and_month(now: Timestamp) -> (u16, i8) {
    let date = jiff::Timestamp::from_microsecond(now.as_micros()).unwrap_or_default();
    let date = TimeZone::UTC.to_datetime(date);
    (u16::try_from(date.year()).unwrap_or(0), date.month())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn copy(from: &Path, to: &Path, name: &str) {
        let name = format!("keys/{name}");
        std::fs::create_dir_all(to.join("keys")).unwrap();
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }

    #[tokio::test]
    async fn hubs_of_one_directory_use_the_same_keys_or_do_not_start() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open_file(&place.path().join("directory.db")).await.unwrap();
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = at("2026-11-24T12:00:00Z");
        let first = Keys::open(one.path()).unwrap();
        agree(&first, &store, now).await.unwrap();
        agree(&first, &store, now).await.unwrap();

        // A hub that made keys of its own, as every new data folder does.
        let second = Keys::open(other.path()).unwrap();
        let refused = agree(&second, &store, now).await.unwrap_err();
        assert!(matches!(&refused, SharedKeysError::Other { name } if name == "audit-signing"), "{refused}");
        copy(one.path(), other.path(), "audit-signing");
        let refused = agree(&second, &store, now).await.unwrap_err();
        assert!(
            matches!(&refused, SharedKeysError::Other { name } if name == "pseudonym-master-1"),
            "{refused}"
        );
        copy(one.path(), other.path(), "pseudonym-master-1");
        let refused = agree(&second, &store, now).await.unwrap_err();
        assert!(
            matches!(&refused, SharedKeysError::Missing { name } if name == "subjects-2026"),
            "{refused}"
        );
        copy(one.path(), other.path(), "subjects-2026");
        agree(&second, &store, now).await.unwrap();
    }

    #[tokio::test]
    async fn the_next_years_key_is_made_a_month_ahead_and_by_one_hub() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open_file(&place.path().join("directory.db")).await.unwrap();
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Keys::open(one.path()).unwrap();
        agree(&first, &store, at("2026-11-24T12:00:00Z")).await.unwrap();
        for name in ["audit-signing", "pseudonym-master-1", "subjects-2026"] {
            copy(one.path(), other.path(), name);
        }
        let second = Keys::open(other.path()).unwrap();
        look_ahead(&first, &store, at("2026-11-30T23:59:59Z")).await.unwrap();
        assert!(first.subjects_of(2027).is_err());

        let december = at("2026-12-01T00:00:00Z");
        let (made, told) =
            tokio::join!(look_ahead(&first, &store, december), look_ahead(&second, &store, december));
        let (maker, taker) = if made.is_ok() { (&one, &other) } else { (&other, &one) };
        let refused = made.and(told).unwrap_err();
        assert!(
            matches!(&refused, SharedKeysError::Missing { name } if name == "subjects-2027"),
            "{refused}"
        );
        assert!(!taker.path().join("keys/subjects-2027").exists());
        copy(maker.path(), taker.path(), "subjects-2027");
        look_ahead(&first, &store, december).await.unwrap();
        look_ahead(&second, &store, december).await.unwrap();
    }
}
