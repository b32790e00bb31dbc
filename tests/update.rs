//! What scripts rely on: the exit codes, words and report of `returnfeed install-update`, and those of `returnfeed health`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use returnfeed::update::making::{self, Bundle};

fn returnfeed(arguments: &[&str], dir: &Path) -> (Option<i32>, String) {
    let program = Command::new(env!("CARGO_BIN_EXE_returnfeed")).args(arguments).current_dir(dir).output();
    let Output { status, stdout, stderr } = program.unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn an_update_is_written_or_refused_or_fails_each_with_its_own_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let newer = Bundle::new("9.0.0", 5000).with("state_note", Some("\"it keeps more\""));
    file("newer", &newer.file());
    file("older", &Bundle::new("0.0.1", 5000).file());
    file("key.pem", making::pem().as_bytes());
    file("slot", &[0xaa; 8192]);
    let install = |bundle: &str, more: &[&str]| {
        let asked =
            ["install-update", bundle, "--to", "slot", "--slot", "3", "--key", "key.pem", "--status", "status.json"];
        let (code, said) = returnfeed(&[&asked, more].concat(), dir.path());
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.path().join("status.json")).unwrap()).unwrap();
        (code, said, report)
    };
    let slot = || fs::read(dir.path().join("slot")).unwrap();

    let (code, said, report) = install("older", &[]);
    assert_eq!((code, report["state"].as_str()), (Some(3), Some("refused")), "{said}");
    assert!(said.contains("older than") && said.trim() == report["error"], "{said}");
    assert_eq!(slot(), [0xaa; 8192]);

    let (code, said, report) = install("newer", &[]);
    assert_eq!((code, report["state"].as_str(), report["version"].as_str()), (Some(0), Some("written"), Some("9.0.0")));
    assert!(said.contains("it keeps more") && report["note"] == "it keeps more", "{said}");
    assert_eq!(slot()[..5000], newer.written(b'3'));

    assert_eq!(install("older", &["--allow-downgrade", "--rate", "100"]).0, Some(0));
    let (code, said, report) = install("gone", &[]);
    assert_eq!((code, report["state"].as_str()), (Some(1), Some("failed")), "{said}");
    assert_eq!(returnfeed(&["install-update", "newer"], dir.path()).0, Some(2));
}

#[test]
fn where_others_may_write_nothing_is_taken_for_an_update_that_is_no_plain_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let good = Bundle::new("9.0.0", 5000).file();
    file("good", &good);
    file("key.pem", making::pem().as_bytes());
    file("slot", &[0xaa; 8192]);
    nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("good", dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink("pipe", dir.path().join("link to pipe")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let signature = String::from_utf8_lossy(&good).lines().nth(1).unwrap().to_owned();
    let script = format!("{}/overlay/usr/libexec/returnfeed/updates", env!("CARGO_MANIFEST_DIR"));
    // As the scripts of the box do, which look at it before the program does.
    let signature_of = |name: &str| {
        let asked = [". \"$0\"; signature_of \"$1\"", &script, name];
        let said = Command::new("bash").arg("-c").args(asked).current_dir(dir.path()).output().unwrap().stdout;
        String::from_utf8(said).unwrap()
    };
    for name in ["pipe", "link", "link to pipe", "folder"] {
        let asked =
            ["install-update", name, "--to", "slot", "--slot", "3", "--key", "key.pem", "--status", "status.json"];
        let (code, said) = returnfeed(&asked, dir.path());
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains("cannot be read: it is no file"), "{name}: {said}");
        assert_eq!(signature_of(name), "", "{name}");
    }
    assert_eq!(fs::read(dir.path().join("slot")).unwrap(), [0xaa; 8192]);
    assert_eq!(signature_of("good").trim(), signature);
}

#[test]
fn no_update_is_signed_with_a_key_that_lies_in_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let tree = env!("CARGO_MANIFEST_DIR");
    // Both the tree and the key by another name.
    std::os::unix::fs::symlink(tree, dir.path().join("tree")).unwrap();
    std::os::unix::fs::symlink(format!("{tree}/target/key.pem"), dir.path().join("key.pem")).unwrap();
    let by_link = |name: &str| dir.path().join(name).into_os_string().into_string().unwrap();
    for key in [
        format!("{tree}/key.pem"),
        format!("{tree}/image/../target/key.pem"),
        by_link("key.pem"),
        by_link("tree/key.pem"),
    ] {
        for program in [format!("{tree}/image/bundle"), by_link("tree/image/bundle")] {
            let Output { status, stderr, .. } = Command::new(program).args(["--key", &key]).output().unwrap();
            let said = String::from_utf8_lossy(&stderr).into_owned();
            assert!(!status.success() && said.contains("must not be in the tree"), "{key}: {said}");
        }
    }
}

#[test]
fn a_box_that_is_not_there_is_not_well() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fs::write(dir.path().join("a.toml"), format!("[http]\nlisten = \"[::]:{port}\"\n")).unwrap();
    let (code, said) = returnfeed(&["health", "--config", "a.toml"], dir.path());
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("127.0.0.1:{port} does not answer: Connection refused")), "{said}");
}
