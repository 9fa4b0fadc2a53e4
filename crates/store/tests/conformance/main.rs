//! What every database under the store must do, held on SQLite and, where its programs are installed, on PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and one that is left out says so"
)]

mod postgres;
mod rules;

/// A database that nobody used before.
struct Fresh {
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("directory.db").display());
        Self { url, _folder: Some(folder) }
    }

    async fn open(&self) -> shuniu_store::Store {
        shuniu_store::Store::open(&self.url).await.unwrap()
    }
}

macro_rules! conformance {
    ($($rule:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $rule() {
                    crate::rules::$rule(&crate::Fresh::sqlite()).await;
                }
            )*
        }

        // One test for all: starting a cluster takes longer than every rule together.
        #[tokio::test]
        async fn on_postgresql_every_rule_holds() {
            let Some(cluster) = postgres::Cluster::start() else {
                eprintln!("left out: PostgreSQL is not installed here");
                return;
            };
            $(
                eprintln!("{}", stringify!($rule));
                rules::$rule(&cluster.database(stringify!($rule))).await;
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
    revoked_certificates_are_facts,
    a_grant_keeps_its_view_whatever_else_of_it_changes,
    a_write_worked_out_from_an_older_directory_is_refused,
    facts_are_of_one_moment_while_others_write,
    no_draft_is_lost_between_writers_and_the_one_who_clears,
    programs_that_start_at_once_make_the_tables_once,
);
