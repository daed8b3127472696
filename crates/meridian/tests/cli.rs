//! The command line from outside: exit codes, help, usage errors, and what is written where.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn meridian(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("MERIDIAN_ENDPOINT")
        .env_remove("MERIDIAN_ADMIN_TOKEN")
        .output()
        .unwrap()
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    run_in(dir.path(), arguments)
}

fn run_in(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = meridian(dir, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn help_and_version_are_on_standard_output() {
    for arguments in
        [&["--help"][..], &["dev", "--help"], &["table", "create", "--help"], &["help", "policy"]]
    {
        let (code, out, err) = run(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(out.contains("Usage: meridian"), "{arguments:?}: {out}");
        assert!(!out.contains("exit-with-parent") && !out.contains("background half"), "{out}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]).1, format!("meridian {version}\n"));
    let json: serde_json::Value = serde_json::from_str(&run(&["version", "--output", "json"]).1).unwrap();
    assert_eq!(json["version"], version);
    let (_, out, _) = run(&["completions", "bash"]);
    assert!(out.contains("_meridian()"), "{out}");
}

#[test]
fn bad_usage_is_exit_code_2_and_says_the_fix() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: meridian"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
        (&["status", "--output", "yaml"], "possible values: table, json"),
        (&["status", "--endpoint", "127.0.0.1:8001"], "write it as http://HOST:PORT"),
        (&["status", "--endpoint", "https://127.0.0.1:8001"], "https endpoints are not supported"),
        (&["table", "create", "orders"], "--key <KEY>"),
        (&["table", "create", "orders", "--key", "pk"], "\"pk\" is not a key; write NAME:TYPE"),
        (&["table", "create", "a", "--key", "pk:S"], "must be 3 to 255 characters"),
        (
            &["table", "create", "orders", "--key", "pk:S", "--policy", "No"],
            "policy name \"No\" is not valid",
        ),
        (
            &["policy", "create", "p", "--pattern", "x", "--replication", "sync", "--regions", "a"],
            "unknown variant `x`",
        ),
        (&["policy", "create", "p", "--pattern", "read-local", "--replication", "sync"], "--regions"),
        (&["key", "create", "bad name"], "must be 1 to 64 characters"),
        (&["key", "delete", "a/b"], "1 to 128 letters and digits"),
        (&["cert", "node", "n1", "--days", "0"], "0 is not in 1..=3650"),
        (&["cert", "node", "n1"], "make it with `meridian cert ca`"),
        (&["dev", "--regions", "a,b"], "add --witness NAME"),
        (&["dev", "--regions", "a,b,c"], "use names of cloud regions, --wan 100ms, or a .toml file"),
        (&["dev", "--regions", "A"], "region name \"A\" is not valid"),
        (&["dev", "--regions", "a", "--wan", "fast"], "--wan \"fast\" is not a model"),
        (&["dev", "--regions", "a", "--nodes-per-region", "11"], "it must be 1 to 10"),
        (&["dev", "--regions", "a", "--base-port", "65535"], "choose one from 1 to"),
        (&["dev", "--base-port", "65536"], "65536 is not in 0..=65535"),
        (&["dev", "--detach", "--regions", "a,a,b"], "region a is named twice"),
        (&["dev", "start"], "<--node <ID>|--region <REGION>>"),
        (&["dev", "start", "--node", "a", "--region", "b"], "cannot be used with"),
        (&["dev", "--fresh", "stop"], "cannot be used with"),
        (&["node"], "--config <FILE>"),
        (&["node", "--config", "missing.toml"], "cannot read missing.toml: No such file"),
        (&["check", "--config", "missing.toml"], "cannot read missing.toml: No such file"),
        (&["check", "--config", "."], "Is a directory (os error 21); name a file in it"),
        (&["dev", "--dir", "/proc/no", "--base-port", "24900"], "as the cluster's folder"),
        (&["dev", "--dir", "/proc/no", "--base-port", "24900", "--detach"], "name another with --dir"),
        (&["teleport", "--to", "a"], "unrecognized subcommand 'teleport'"),
    ];
    for (arguments, words) in cases {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
        assert!(!err.contains('\u{1b}'), "{arguments:?}: colour without a terminal: {err:?}");
    }
}

#[test]
fn an_unreachable_cluster_is_exit_code_4() {
    let (code, _, err) = run(&["status"]);
    assert_eq!(code, 4);
    assert!(
        err.contains(
            "pass --endpoint URL, set MERIDIAN_ENDPOINT, or start a cluster here with `meridian dev`"
        ),
        "{err}"
    );
    // Port 1 is never listened on.
    let (code, _, err) = run(&["table", "list", "--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(code, 4);
    assert!(
        err.contains("cannot connect to http://127.0.0.1:1") && err.contains("is the node running"),
        "{err}"
    );
    let (code, _, err) = run(&["dev", "stop"]);
    assert_eq!(code, 4);
    assert!(err.contains("no cluster is running in meridian-dev"), "{err}");
    let (code, _, _) = run(&["dev", "kill", "--region", "a"]);
    assert_eq!(code, 4);
}

/// A server that gives one answer to everything.
fn impostor(answer: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(4) {
            let mut stream = stream.unwrap();
            _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn the_data_port_is_recognised() {
    let data = impostor(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\nx-amzn-requestid: 1\r\n\
         content-length: 2\r\nconnection: close\r\n\r\n{}",
    );
    let (code, _, err) = run(&["status", "--endpoint", &data]);
    assert_eq!(code, 2);
    assert!(
        err.contains("is the DynamoDB API; commands talk to the admin API, by default one port up"),
        "{err}"
    );
    let other = impostor("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
    let (code, _, err) = run(&["status", "--endpoint", &other]);
    assert_eq!(code, 4);
    assert!(err.contains("does not answer as Meridian's admin API (200 OK)"), "{err}");
}

#[test]
fn certificates_and_a_checked_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let ok = |arguments: &[&str]| {
        let (code, out, err) = run_in(dir.path(), arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        out
    };
    assert_eq!(ok(&["cert", "ca"]), "certs/ca.pem\ncerts/ca-key.pem\n");
    ok(&["cert", "node", "n1", "--san", "db.example"]);
    ok(&["cert", "node", "n2", "--output", "json"]);
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("certs/ca-key.pem"), mode("certs/n1-key.pem"), mode("certs/n1.pem")),
        (0o600, 0o600, 0o644)
    );
    let (code, _, err) = run_in(dir.path(), &["cert", "ca"]);
    assert_eq!(code, 2);
    assert!(err.contains("is there already; use --force"), "{err}");

    let config = r#"
        [node]
        id = "n1"
        number = 1
        region = "us"
        zone = "a"
        data_dir = "data"
        [tls]
        ca = "certs/ca.pem"
        cert = "certs/n1.pem"
        key = "certs/n1-key.pem"
        [cluster]
        name = "test"
        nodes = [{ id = "n1", number = 1, region = "us", zone = "a", peer = "127.0.0.1:8005" }]"#;
    std::fs::write(dir.path().join("node.toml"), config).unwrap();
    let out = ok(&["check", "--config", "node.toml"]);
    assert_eq!(out, "node.toml is valid: node n1 in us, cluster test of 1 nodes, 7 policies\n");
    std::fs::set_permissions(dir.path().join("certs/n1-key.pem"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    std::fs::remove_file(dir.path().join("certs/ca.pem")).unwrap();
    let (code, _, err) = run_in(dir.path(), &["check", "--config", "node.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("tls.ca: there is no file certs/ca.pem; make it or correct the path"), "{err}");
    assert!(err.contains("(mode 644); run: chmod 600 certs/n1-key.pem"), "{err}");
}

#[test]
fn check_refuses_what_a_node_would() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[node]\nid='n1'\nnumber=1\nregion='us'\nzone='a'\ndata_dir='d'\n[cluster]\nname='t'\n\
        nodes=[{id='n1',number=1,region='us',zone='a',peer='h:1'}]\n\
        [[policy]]\nname='everywhere'\npattern='active-active'\nreplication='async'\nregions=['us']\nconflict='sum'";
    std::fs::write(dir.path().join("node.toml"), config).unwrap();
    for command in ["check", "node"] {
        let (code, out, err) = run_in(dir.path(), &[command, "--config", "node.toml"]);
        assert_eq!((code, out.as_str()), (2, ""), "{command}: {err}");
        assert!(
            err.contains("unknown variant `sum`, expected one of `lww`, `merge`, `crdt`"),
            "{command}: {err}"
        );
    }
    assert!(!dir.path().join("d").exists(), "nothing was made");
}

#[test]
fn the_environment_overrides_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[node]\nid='n1'\nnumber=1\nregion='us'\nzone='a'\ndata_dir='d'\n[cluster]\nname='t'\n\
        nodes=[{id='n1',number=1,region='us',zone='a',peer='h:1'}]";
    std::fs::write(dir.path().join("node.toml"), config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(["check", "--config", "node.toml"])
        .current_dir(dir.path())
        .env("MERIDIAN_LISTEN__ADMIN", "0.0.0.0:8001")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("listen.admin 0.0.0.0:8001 is not loopback"), "{err}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(["completions", "zsh"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
