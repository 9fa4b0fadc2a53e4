//! What every database under the store must do, held on SQLite and, where its programs are installed, on PostgreSQL;
//! and what becomes of a PostgreSQL that hangs, dies and comes back.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and one that is left out says so"
)]

#[path = "../../../../tests/src/postgres.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "shared with other packages; each uses what it needs"
)]
mod postgres;
mod production;
mod rules;

use sqlx::{Connection as _, Executor as _};

use shuniu_store::{Database, DatabaseSettings, Store};

/// A database that nobody used before.
struct Fresh {
    database: Database,
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.db");
        let (database, url) = (Database::file(&path), format!("sqlite://{}?mode=rwc", path.display()));
        Self { database, url, _folder: Some(folder) }
    }

    fn postgres(cluster: &postgres::Postgres, name: &str) -> Self {
        let url = cluster.database(name);
        let database = Database::postgres(&url, DatabaseSettings::default()).unwrap();
        Self { database, url, _folder: None }
    }

    /// Runs a statement beside the store.
    async fn run(&self, statement: &'static str) {
        let mut connection = sqlx::AnyConnection::connect(&self.url).await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn open(&self) -> Store {
        Store::migrate(self.database.clone()).await.unwrap();
        Store::open(self.database.clone()).await.unwrap()
    }
}

macro_rules! conformance {
    ($($rule:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $rule() {
                    crate::rules::$rule(&crate::Fresh::sqlite()).await;
                }
            )*
        }

        // One test for all: starting a cluster takes longer than every rule together.
        #[tokio::test(flavor = "multi_thread")]
        async fn on_postgresql_every_rule_holds() {
            let Some(cluster) = postgres::Postgres::start() else {
                eprintln!("left out: PostgreSQL is not installed here");
                return;
            };
            $(
                eprintln!("{}", stringify!($rule));
                rules::$rule(&Fresh::postgres(&cluster, stringify!($rule))).await;
            )*
        }
    };
}

conformance!(
    what_is_written_is_loaded_and_the_version_grows,
    a_failed_write_leaves_nothing_behind,
    a_system_holds_one_grant_on_a_resource_until_it_is_revoked,
    a_registered_schema_version_never_changes_and_its_id_is_never_given_again,
    a_checkpoint_is_swapped_only_for_the_one_it_follows,
    a_key_of_a_name_is_entered_once,
    revoked_certificates_are_facts,
    a_grant_keeps_its_view_whatever_else_of_it_changes,
    a_write_worked_out_from_an_older_directory_is_refused,
    facts_are_of_one_moment_while_others_write,
    no_draft_is_lost_between_writers_and_the_one_who_clears,
    programs_that_start_at_once_make_the_tables_once,
    of_writers_that_read_the_same_version_one_writes,
    writers_at_once_give_no_schema_id_twice,
    tables_of_another_version_are_not_opened,
    migrating_twice_changes_nothing,
    the_feed_says_where_the_policy_is,
);
