//! A hub whose directory is in PostgreSQL.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use shuniu_tests::{Hub, Postgres, citizen, person};

use crate::{consume, producer, publish};

#[test]
fn a_trials_directory_moves_to_postgresql_and_the_hub_goes_on_with_it() {
    let Some(postgres) = Postgres::start() else {
        eprintln!("left out: PostgreSQL is not installed here");
        return;
    };
    let mut hub = Hub::start();
    let schema = hub.schema_id("population-register", "population");
    publish(&producer(&hub), &citizen(0), Some(&person(schema, &citizen(0), "张三", "500103")), b"");
    hub.stop();

    let folder = hub.folder().to_owned();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (config, url_file, old) = (path("hub.toml"), path("keys/directory-url"), path("directory.db"));
    let url = postgres.database("directory").replace("postgres@", "postgres:geheim@");
    std::fs::write(&url_file, url).unwrap();
    std::fs::set_permissions(&url_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[directory]\nstore = \"postgresql\"\n")).unwrap();

    // What the operator is told on the way.
    let told = |arguments: &[&str]| {
        let output = hub.command(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let forgotten = told(&["directory", "apply", &path("directory.toml")]);
    assert!(forgotten.contains("give `--config`"), "{forgotten}");
    let bare = told(&["audit", "search", "--config", &config]);
    assert!(bare.contains("run `shuniu migrate`"), "{bare}");
    let moved = hub.run(&["migrate", "--config", &config, "--from", &old]);
    assert!(moved.contains("moved and compared"), "{moved}");
    assert!(!std::path::Path::new(&old).exists());
    let again = told(&["migrate", "--config", &config, "--from", &format!("{old}.moved")]);
    assert!(again.contains("in use already"), "{again}");

    hub.restart();
    assert_eq!(hub.schema_id("population-register", "population"), schema);
    publish(&producer(&hub), &citizen(1), Some(&person(schema, &citizen(1), "李四", "500103")), b"");
    let got = consume(&hub, "hall-yuzhong", "population", "moved");
    assert_eq!(got.keys().cloned().collect::<Vec<_>>(), [citizen(0), citizen(1)]);

    // The database dies under the hub and comes back, and the hub follows it again.
    postgres.kill();
    postgres.restart();
    let directory = std::fs::read_to_string(path("directory.toml")).unwrap();
    let grant = "id = \"yuzhong-population\"";
    std::fs::write(
        path("directory.toml"),
        directory.replace(grant, &format!("{grant}\nstate = \"revoked\"")),
    )
    .unwrap();
    hub.run(&["directory", "apply", &path("directory.toml"), "--config", &config]);
    let deadline = Instant::now() + Duration::from_secs(30);
    let read = ["-C", "-t", "population", "-e", "-o", "beginning"];
    while !hub.kcat("hall-yuzhong", &read).to_lowercase().contains("authorization failed") {
        assert!(Instant::now() < deadline, "the revocation is not followed\n{}", hub.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    hub.recorded(&["--config", &config, "--action", "revoked"], &["yuzhong-population"]);
    hub.recorded(&["--config", &config, "--action", "administered"], &["directory"]);
    hub.stop();
    hub.verify();
    assert!(!hub.log().contains("geheim"), "the connection string is in the log");
}
