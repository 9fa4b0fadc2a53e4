//! The demonstration, small, from its own program file.

use std::process::Command;

#[test]
fn every_check_of_the_demonstration_holds() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("demo");
    let done = Command::new(env!("CARGO_BIN_EXE_shuniu"))
        .args(["demo", "--once", "--people", "3000", "--home", home.to_str().unwrap()])
        .output()
        .unwrap();
    let story = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{story}\n{complaint}");
    assert!(story.contains(" checks held, 0 did not"), "{story}");
}
