//! Commands in a place where they cannot write: what was wrong, where, and what to do.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use shuniu_tests::{SmallDisk, repository};

const FULL: &str = "what to do: the disk is full: make room on it";
const READ_ONLY: &str = "what to do: nothing can be written there";
const NOT_OURS: &str = "what to do: it belongs to somebody else, or its mode forbids it";

/// Nobody's user id, on every Linux.
const NOBODY: u32 = 65_534;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shuniu"));
    command.args(arguments);
    command
}

fn done(arguments: &[&str]) {
    let output = program(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a command that fails says; it names the place, and what to do.
#[track_caller]
fn fails(command: &mut Command, place: &Path, what_to_do: &str) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
    assert!(told.contains(text(place)) && told.contains(what_to_do), "{command:?}: {told}");
    assert!(!told.contains("panicked"), "{told}");
    told
}

/// A data folder with an authority, the hub's certificate, keys, and the demonstration's directory.
fn data(folder: &Path) {
    let data = text(folder);
    done(&["ca", "init", "--data", data]);
    done(&["ca", "issue-hub", "--name", "localhost", "--data", data]);
    done(&["ca", "issue-system", "hall-yuzhong", "--data", data]);
    done(&["directory", "apply", "--data", data, text(&directory())]);
}

fn directory() -> PathBuf {
    repository().join("config/directory.toml")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_command_on_a_full_disk_says_so_and_takes_nothing_that_was_there() {
    let Some(disk) = SmallDisk::new("4m") else { return };
    let (place, other) = (disk.path().join("data"), disk.path().join("other"));
    data(&place);
    let files = names(&place.join("ca"));
    let key = std::fs::read(place.join("ca/hub.key")).unwrap();
    disk.fill();
    let data = text(&place);
    fails(&mut program(&["ca", "init", "--data", text(&other)]), &other, FULL);
    fails(&mut program(&["ca", "issue-hub", "--name", "localhost", "--data", data]), &place, FULL);
    fails(&mut program(&["ca", "issue-system", "hall-yuzhong", "--data", data]), &place, FULL);
    fails(&mut program(&["ca", "issue-system", "bank", "--data", data]), &place, FULL);
    assert_eq!(names(&place.join("ca")), files);
    assert_eq!(names(&place.join("ca/systems")), ["hall-yuzhong.key", "hall-yuzhong.pem"]);
    assert_eq!(std::fs::read(place.join("ca/hub.key")).unwrap(), key);
    fails(&mut program(&["keys", "new-master", "7", "--data", data]), &place, FULL);
    fails(&mut program(&["ca", "revoke", "ab12", "--reason", "lost", "--data", data]), &place, FULL);
    let export = disk.path().join("export.jsonl");
    fails(&mut program(&["audit", "export", text(&export), "--data", data]), &place, "what to do: ");
    assert!(!export.exists());

    // With room again, everything goes on.
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    done(&["ca", "init", "--data", text(&other)]);
    done(&["ca", "issue-hub", "--name", "localhost", "--data", data]);
    done(&["ca", "revoke", "ab12", "--reason", "lost", "--data", data]);
    done(&["keys", "new-master", "7", "--data", data]);
}

#[test]
fn a_command_in_a_place_that_is_read_only_says_so() {
    let Some(disk) = SmallDisk::new("4m") else { return };
    let (place, other) = (disk.path().join("data"), disk.path().join("other"));
    data(&place);
    disk.make_read_only();
    let data = text(&place);
    fails(&mut program(&["ca", "init", "--data", text(&other)]), &other, READ_ONLY);
    fails(&mut program(&["ca", "issue-hub", "--name", "localhost", "--data", data]), &place, READ_ONLY);
    fails(&mut program(&["keys", "new-master", "7", "--data", data]), &place, READ_ONLY);
    fails(&mut program(&["directory", "apply", "--data", data, text(&directory())]), &place, "what to do: ");
}

#[test]
fn a_command_in_a_place_of_somebody_else_says_so() {
    if !is_root() {
        println!("left out: another user's place needs the right to become another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    data(&place);
    // Everybody may pass, and nobody else may write.
    for path in [folder.path(), &place, &place.join("ca")] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    // The program itself may lie where nobody may go.
    let copy = folder.path().join("shuniu");
    std::fs::copy(env!("CARGO_BIN_EXE_shuniu"), &copy).unwrap();
    let nobody = |arguments: &[&str]| {
        let mut command = Command::new(&copy);
        command.args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    };
    let (data, other) = (text(&place), folder.path().join("other"));
    fails(&mut nobody(&["ca", "init", "--data", text(&other)]), &other, NOT_OURS);
    fails(&mut nobody(&["ca", "issue-hub", "--name", "localhost", "--data", data]), &place, NOT_OURS);
    fails(&mut nobody(&["keys", "new-master", "7", "--data", data]), &place, NOT_OURS);
    let owner = "work as its owner";
    fails(&mut nobody(&["directory", "apply", "--data", data, text(&directory())]), &place, owner);
    fails(&mut nobody(&["ca", "revoke", "ab12", "--reason", "lost", "--data", data]), &place, owner);
    fails(&mut nobody(&["audit", "export", "/tmp/none.jsonl", "--data", data]), &place, owner);
    fails(&mut nobody(&["backup", text(&other), "--data", data]), &place, owner);
}

/// Whether this process may become another user.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[test]
fn revoked_certificates_are_shown_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    data(&place);
    let data = text(&place);
    let file = place.join("ca/systems/hall-yuzhong.pem");
    let show = |arguments: &[&str]| {
        let output = program(&[&["ca", "show", "--data", data], arguments].concat()).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (_, told, _) = show(&[]);
    assert!(
        told.lines().count() == 3 && told.contains("hall-yuzhong") && !told.contains("revoked"),
        "{told}"
    );
    assert!(show(&[text(&file)]).1.contains("state   good until 20"));
    done(&["ca", "revoke", text(&file), "--reason", "key lost", "--data", data]);
    done(&["ca", "revoke", "ab12", "--reason", "stolen", "--data", data]);
    // There is no log yet that knows when: it is revoked all the same.
    for (arguments, lines) in [(&[] as &[&str], 2), (&[text(&file)], 1)] {
        let (success, told, error) = show(arguments);
        assert!(success, "{error}");
        assert_eq!(told.matches("revoked (when is not in the log yet").count(), lines, "{told}{error}");
    }
    // Elsewhere the file is read as ever.
    let elsewhere = folder.path().join("none");
    let output = program(&["ca", "show", text(&file), "--data", text(&elsewhere)]).output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("`--data`"),
        "{output:?}"
    );
}

#[test]
fn files_without_end_are_not_read() {
    let zero = Path::new("/dev/zero");
    for arguments in [&["ca", "show", "/dev/zero"] as &[&str], &["hub", "--config", "/dev/zero"]] {
        let output = program(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(text(zero)) && told.contains("it is not a file"), "{told}");
    }
}
