//! Which database, how it is reached and how long it may take.

use std::fmt;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::StoreError;
use crate::backend::Backend;

/// How a database is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Connections at one time. Following the policy has one more.
    pub connections_max: u32,
    /// For a connection to be had.
    pub connect_max: Duration,
    /// For a statement, and for a lock that it waits for.
    pub statement_max: Duration,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            connections_max: 8,
            connect_max: Duration::from_secs(5),
            statement_max: Duration::from_secs(10),
        }
    }
}

/// A database. Its `Debug` shows neither user nor password.
#[derive(Clone)]
pub struct Database {
    pub(crate) backend: Backend,
    pub(crate) url: String,
    /// The same for PostgreSQL's own connections; `None` for SQLite.
    pub(crate) postgres: Option<PgConnectOptions>,
    pub(crate) settings: DatabaseSettings,
}

impl Database {
    /// The SQLite database in that file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self {
            backend: Backend::Sqlite,
            url: format!("sqlite://{}?mode=rwc", path.display()),
            postgres: None,
            settings: DatabaseSettings::default(),
        }
    }

    /// A PostgreSQL database by its connection string, `postgres://USER:PASSWORD@HOST:PORT/NAME?sslrootcert=FILE`.
    /// Over a network, TLS with a server whose name or at least authority is checked is what it takes.
    ///
    /// # Errors
    /// [`StoreError::Url`], which does not show the string: it holds a password.
    pub fn postgres(url: &str, settings: DatabaseSettings) -> Result<Self, StoreError> {
        let url = url.trim();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(StoreError::Url { rule: "begin with postgres://" });
        }
        let rule = "be postgres://USER:PASSWORD@HOST:PORT/NAME, with special characters of user and password \
                    written as %XX";
        // The parser's own error may quote a part of the string.
        let mut options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Url { rule })?;
        let mut url = url.to_owned();
        if !is_local(&options) {
            let checked = |mode: PgSslMode| matches!(mode, PgSslMode::VerifyFull | PgSslMode::VerifyCa);
            let said = ["sslmode=", "ssl-mode="].into_iter().any(|key| url.contains(key));
            if said && !checked(options.get_ssl_mode()) {
                return Err(StoreError::Url {
                    rule: "have sslmode=verify-full (or verify-ca): over a network the directory is reached by TLS with \
                           a server that is checked; without TLS only on this machine",
                });
            }
            if !checked(options.get_ssl_mode()) {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str("sslmode=verify-full");
                options = options.ssl_mode(PgSslMode::VerifyFull);
            }
        }
        let options = options.application_name("shuniu policy");
        Ok(Self { backend: Backend::Postgres, url, postgres: Some(options), settings })
    }
}

/// On this machine: a socket in a folder, or loopback.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some() || host.starts_with('/') || is_local_host(host)
}

/// Whether a host's name or address is this machine's own.
#[must_use]
pub fn is_local_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("backend", &self.backend)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<(PgSslMode, String), String> {
        Database::postgres(url, DatabaseSettings::default())
            .map(|database| (database.postgres.unwrap().get_ssl_mode(), database.url))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn over_a_network_the_server_is_checked_and_only_this_machine_goes_without_tls() {
        let (found, url) = mode("postgres://u:p@db.example/d").unwrap();
        assert!(matches!(found, PgSslMode::VerifyFull));
        assert!(url.ends_with("?sslmode=verify-full"), "{url}");
        let (found, url) = mode("postgres://u:p@10.0.0.7:5433/d?sslrootcert=/x/ca.pem\n").unwrap();
        assert!(matches!(found, PgSslMode::VerifyFull));
        assert!(url.ends_with("?sslrootcert=/x/ca.pem&sslmode=verify-full"), "{url}");
        for refused in ["disable", "allow", "prefer", "require"] {
            let error = mode(&format!("postgres://u:p@db.example/d?sslmode={refused}")).unwrap_err();
            assert!(error.contains("verify-full"), "{error}");
        }
        assert!(mode("postgres://u:p@db.example/d?sslmode=verify-ca").is_ok());
        for local in [
            "postgres://u:p@localhost/d",
            "postgres://u:p@127.0.0.1:5433/d?sslmode=disable",
            "postgres://u:p@[::1]/d",
            "postgres://u@localhost/d?host=%2Frun%2Fpostgresql",
        ] {
            assert_eq!(mode(local).unwrap().1, local);
        }
    }

    #[test]
    fn no_error_and_no_debug_output_shows_the_password() {
        for url in [
            "postgres://hub:geheim@db.example:port/d",
            "postgres://hub:geheim@db.example/d?sslmode=geheim",
            "postgres:/hub:geheim@db.example/d",
            "mysql://hub:geheim@db.example/d",
            "hub:geheim",
        ] {
            let error = Database::postgres(url, DatabaseSettings::default()).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("geheim"), "{shown}");
        }
        let database = Database::postgres("postgres://hub:geheim@db.example/d", DatabaseSettings::default());
        assert!(!format!("{:?}", database.unwrap()).contains("geheim"));
    }
}
