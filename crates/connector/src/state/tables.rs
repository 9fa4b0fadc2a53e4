//! The state's SQL.

/// What lasts, and what lasts as long as the connection. SQLite keeps the latter in files of its own.
pub(super) const TABLES: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, digest BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sent (
        key BLOB PRIMARY KEY, schema INTEGER NOT NULL, body BLOB NOT NULL, likeness BLOB NOT NULL
    ) WITHOUT ROWID",
    "CREATE TEMP TABLE staged (
        key BLOB PRIMARY KEY, body BLOB NOT NULL, likeness BLOB NOT NULL, place INTEGER NOT NULL
    ) WITHOUT ROWID",
    "CREATE TEMP TABLE held (key BLOB PRIMARY KEY) WITHOUT ROWID",
    // kind: 1 insert, 2 update, 3 delete.
    "CREATE TEMP TABLE change (n INTEGER PRIMARY KEY, kind INTEGER NOT NULL, key BLOB NOT NULL)",
];

/// A table that is none of the lasting ones above: then the file is not a connector's state.
pub(super) const OTHERS: &str = "SELECT name FROM main.sqlite_master
    WHERE type = 'table' AND name NOT IN ('fact', 'file', 'sent') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 1";

pub(super) const CLEAR: [&str; 3] = ["DELETE FROM staged", "DELETE FROM held", "DELETE FROM change"];

pub(super) const PUT_SENT: &str = "INSERT INTO sent VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO UPDATE SET
    schema = excluded.schema, body = excluded.body, likeness = excluded.likeness";

pub(super) const STAGE: &str = "INSERT INTO staged (key, body, likeness, place) VALUES ";
pub(super) const STAGE_END: &str = " ON CONFLICT (key) DO UPDATE SET
    body = excluded.body, likeness = excluded.likeness, place = excluded.place";

pub(super) const COMPARE: [&str; 2] = [
    "DELETE FROM change",
    "INSERT INTO change (kind, key)
        SELECT CASE WHEN s.key IS NULL THEN 1 ELSE 2 END, t.key
        FROM staged t LEFT JOIN sent s ON s.key = t.key
        WHERE s.key IS NULL OR s.likeness <> t.likeness
        ORDER BY t.place",
];

pub(super) const COMPARE_DELETES: &str = "INSERT INTO change (kind, key)
    SELECT 3, s.key FROM sent s
    WHERE NOT EXISTS (SELECT 1 FROM staged t WHERE t.key = s.key)
      AND NOT EXISTS (SELECT 1 FROM held h WHERE h.key = s.key)
    ORDER BY s.key";

pub(super) const CHANGES: &str = "SELECT c.n AS n, c.key AS key, t.body AS after_body, t.place AS place,
        s.schema AS before_schema, s.body AS before_body
    FROM change c LEFT JOIN staged t ON t.key = c.key LEFT JOIN sent s ON s.key = c.key
    WHERE c.n > $1 ORDER BY c.n LIMIT $2";

pub(super) const APPLY_PUTS: &str = "INSERT INTO sent (key, schema, body, likeness)
    SELECT t.key, $1, t.body, t.likeness FROM change c JOIN staged t ON t.key = c.key
    WHERE c.n BETWEEN $2 AND $3 AND c.kind <> 3
    ON CONFLICT (key) DO UPDATE SET
        schema = excluded.schema, body = excluded.body, likeness = excluded.likeness";

pub(super) const APPLY_DELETES: &str = "DELETE FROM sent WHERE key IN (
    SELECT key FROM change WHERE n BETWEEN $1 AND $2 AND kind = 3)";

/// `start ($1, $2), ($3, $4) end`.
pub(super) fn with_rows(start: &str, rows: usize, columns: usize, end: &str) -> String {
    let mut sql = start.to_owned();
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            if column > 1 {
                sql.push_str(", ");
            }
            sql.push('$');
            sql.push_str(&(row * columns + column).to_string());
        }
        sql.push(')');
    }
    sql.push_str(end);
    sql
}

/// `start ($1, $2)`.
pub(super) fn with_list(start: &str, count: usize) -> String {
    with_rows(start, 1, count, "")
}
