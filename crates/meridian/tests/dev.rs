//! `meridian dev` from outside: a real cluster started, hurt, healed, killed outright and started again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(90);

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.env_remove("MERIDIAN_ENDPOINT").stdin(Stdio::null());
    command
}

/// A folder whose cluster is stopped when the test ends, however it ends.
struct Cluster {
    dir: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    fn new(port: u16) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), port }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("dev")
    }

    fn dev(&self, arguments: &[&str]) -> Output {
        binary().arg("dev").args(arguments).arg("--dir").arg(self.path()).output().unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Output {
        let port = self.port.to_string();
        self.dev(&[&["--detach", "--base-port", &port, "--wan", "10ms"], arguments].concat())
    }

    fn file(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path().join("cluster.json")).unwrap()).unwrap()
    }

    fn supervisor(&self) -> i64 {
        self.file()["supervisor"]["pid"].as_i64().unwrap()
    }

    fn pids(&self) -> Vec<i64> {
        let file = self.file();
        let regions = file["regions"].as_array().unwrap().iter();
        regions
            .flat_map(|region| region["nodes"].as_array().unwrap())
            .filter_map(|node| node["pid"].as_i64())
            .collect()
    }

    /// Status and body of a request to the supervisor.
    fn control(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let url = self.file()["supervisor"]["control"].as_str().unwrap().to_owned();
        http(url.strip_prefix("http://").unwrap(), method, path, body)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.dev(&["stop"]);
    }
}

fn http(address: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = http_text(address, method, path, body);
    (status, serde_json::from_str(&body).unwrap())
}

fn http_text(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The state letter of a process, `None` when there is none.
fn process_state(pid: i64) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next().filter(|state| *state != 'Z')
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(pid: i64, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn node_states(answer: &Value) -> Vec<&str> {
    answer["nodes"].as_array().unwrap().iter().map(|node| node["state"].as_str().unwrap()).collect()
}

const REGIONS: &[&str] = &["--regions", "a,b,c"];

#[test]
fn a_cluster_is_started_hurt_healed_and_stopped() {
    let cluster = Cluster::new(21_000);
    let out = succeeded(&cluster.start(REGIONS));
    for words in [
        "3 regions, 3 nodes, WAN 10ms",
        "aws dynamodb put-item",
        "import boto3",
        "meridian drill region-kill",
    ] {
        assert!(out.contains(words), "{out}");
    }
    let pids = cluster.pids();
    assert_eq!(pids.len(), 3);
    let file = cluster.file();
    let node = &file["regions"][1]["nodes"][0];
    assert_eq!(node["id"], "b-a-0");
    assert_eq!(node["dynamodb"], "http://127.0.0.1:21100");
    assert_eq!(node["dns"], "127.0.0.1:21104");
    assert_eq!(file["credentials"]["secret_access_key"].as_str().unwrap().len(), 40);

    let again = cluster.start(REGIONS);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("a cluster is already running"), "{again:?}");

    let (status, answer) = cluster.control("POST", "/v1/regions/b/freeze", "");
    assert_eq!((status, node_states(&answer)), (200, vec!["frozen"]));
    wait_until("the node stands still", || process_state(pids[1]) == Some('T'));
    let (status, answer) = cluster.control("POST", "/v1/nodes/b-a-0/start", "");
    assert_eq!(status, 409, "{answer}");
    let (status, answer) = cluster.control("POST", "/v1/nodes/b-a-0/thaw", "");
    assert_eq!((status, node_states(&answer)), (200, vec!["running"]));
    wait_until("the node goes on", || process_state(pids[1]) != Some('T'));

    succeeded(&cluster.dev(&["kill", "--region", "b"]));
    assert_eq!(process_state(pids[1]), None);
    assert_eq!(cluster.file()["regions"][1]["nodes"][0]["pid"], Value::Null);
    let (_, answer) = cluster.control("GET", "/v1/nodes", "");
    assert_eq!(node_states(&answer), ["running", "killed", "running"]);
    let out = succeeded(&cluster.dev(&["start", "--node", "b-a-0"]));
    assert!(out.contains("running"), "{out}");
    assert_eq!(http("127.0.0.1:21101", "GET", "/v1/health", "").1["ready"], true);

    let (status, answer) = cluster.control("POST", "/v1/links", r#"{"from":"a","to":"*","block":true}"#);
    assert_eq!((status, answer["blocked"].to_string()), (200, r#"[["a","b"],["a","c"]]"#.to_owned()));
    let (_, answer) = cluster.control("POST", "/v1/links", r#"{"from":"*","to":"*","block":false}"#);
    assert_eq!(answer["blocked"].to_string(), "[]");
    let (status, answer) = cluster.control("POST", "/v1/links", r#"{"from":"a","to":"b","delay_ms":250}"#);
    assert_eq!((status, answer["delayed"].to_string()), (200, r#"[["a","b",250]]"#.to_owned()));
    let (_, answer) = cluster.control("POST", "/v1/links", r#"{"from":"*","to":"*","delay_ms":0}"#);
    assert_eq!((answer["delayed"].to_string(), &answer["emulated"]), ("[]".to_owned(), &Value::Bool(true)));
    let (status, answer) = cluster.control("POST", "/v1/nodes/a-a-0/pretence", r#"{"disk_full":true}"#);
    assert_eq!((status, &answer["disk_full"]), (200, &Value::Bool(true)));
    let metric = |wanted: &str| {
        http_text("127.0.0.1:21001", "GET", "/metrics", "").1.lines().any(|line| line == wanted)
    };
    wait_until("the node takes its disk for full", || metric("meridian_disk_low 1"));
    assert_eq!(cluster.control("POST", "/v1/nodes/a-a-0/pretence", "{}").0, 200);
    wait_until("the node knows its disk again", || metric("meridian_disk_low 0"));
    for (method, path, body, expected) in [
        ("POST", "/v1/regions/x/kill", "", "there is no region \"x\"; there are a, b, c"),
        ("POST", "/v1/nodes/x/kill", "", "there is no node \"x\"; there are a-a-0, b-a-0, c-a-0"),
        ("POST", "/v1/regions/a/maim", "", "there are the orders kill, start, freeze, thaw and stop"),
        ("POST", "/v1/links", r#"{"from":"a","to":"a","block":true}"#, "are the same region"),
        ("POST", "/v1/links", "{}", "missing field `from`"),
        ("POST", "/v1/links", r#"{"from":"a","to":"*"}"#, "nothing is ordered"),
        ("POST", "/v1/links", r#"{"from":"a","to":"*","delay_ms":60001}"#, "must be 0 to 60000"),
        ("POST", "/v1/nodes/x/pretence", "{}", "there is no node \"x\""),
        ("POST", "/v1/nodes/a-a-0/pretence", r#"{"disk":1}"#, "unknown field `disk`"),
        ("GET", "/v2", "", "there is nothing at /v2"),
    ] {
        let (status, answer) = cluster.control(method, path, body);
        assert!((400..500).contains(&status), "{path}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(expected), "{path}: {answer}");
    }

    let pids = cluster.pids();
    assert_eq!(succeeded(&cluster.dev(&["stop"])), "stopped\n");
    assert!(pids.iter().all(|&pid| process_state(pid).is_none()));
    assert!(!cluster.path().join("cluster.json").exists());
}

#[test]
fn nodes_end_with_a_killed_supervisor_and_the_next_run_starts() {
    let cluster = Cluster::new(22_000);
    succeeded(&cluster.start(REGIONS));
    let credentials = cluster.file()["credentials"].clone();
    let pids = cluster.pids();
    // A frozen node cannot see that its supervisor is gone. The kernel hangs up a stopped process group that has lost
    // its parent, and where it does not, the next run ends the node.
    signal(pids[2], "-STOP");
    signal(cluster.supervisor(), "-KILL");
    wait_until("the nodes end by themselves", || pids[..2].iter().all(|&pid| process_state(pid).is_none()));
    succeeded(&cluster.start(REGIONS));
    assert_eq!(process_state(pids[2]), None);
    assert_eq!(cluster.file()["credentials"], credentials);

    let pids = cluster.pids();
    signal(cluster.supervisor(), "-KILL");
    pids.iter().for_each(|pid| _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status());
    succeeded(&cluster.start(REGIONS));

    succeeded(&cluster.dev(&["stop"]));
    let other = cluster.start(&["--regions", "a"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(
        stderr(&other).contains("holds a cluster of a-a-0, b-a-0, c-a-0; start that one, or use --fresh"),
        "{other:?}"
    );
    succeeded(&cluster.start(&["--regions", "a", "--fresh"]));
    assert_ne!(cluster.file()["credentials"], credentials);
}

#[test]
fn a_taken_port_is_named_before_anything_starts() {
    let cluster = Cluster::new(23_000);
    let _taken = std::net::TcpListener::bind("127.0.0.1:23101").unwrap();
    let output = cluster.start(REGIONS);
    assert_eq!(output.status.code(), Some(1));
    let err = stderr(&output);
    assert!(err.contains("port 23101 (admin of b-a-0) cannot be used"), "{err}");
    assert!(err.contains("choose others with --base-port"), "{err}");
    assert!(!cluster.path().join("nodes").exists());
}

#[test]
fn the_foreground_stops_cleanly_on_a_signal_and_prints_json() {
    let cluster = Cluster::new(24_000);
    let mut child: Child = binary()
        .args([
            "dev",
            "--regions",
            "a,b",
            "--witness",
            "w",
            "--wan",
            "none",
            "--base-port",
            "24000",
            "--output",
            "json",
        ])
        .arg("--dir")
        .arg(cluster.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("cluster.json is there", || cluster.path().join("cluster.json").exists());
    let pids = cluster.pids();
    assert_eq!(pids.len(), 3);
    let (status, answer) = cluster.control("POST", "/v1/links", r#"{"from":"a","to":"b","block":true}"#);
    assert_eq!(status, 409, "{answer}");
    signal(child.id().into(), "-INT");
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(pids.iter().all(|&pid| process_state(pid).is_none()));
    let file: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(file["regions"][2]["name"], "w");
    assert_eq!(file["supervisor"]["pid"], child.id());
}

#[test]
fn files_with_secrets_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::new(25_000);
    succeeded(&cluster.start(&["--regions", "a"]));
    let mode = |name: &str| {
        let path: PathBuf = cluster.path().join(Path::new(name));
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    let private = [
        "cluster.json",
        "credentials.toml",
        "certs/a-a-0-key.pem",
        "nodes/a-a-0/config.toml",
        "supervisor.log",
    ];
    for name in private {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!(mode("nodes/a-a-0/data"), 0o700);
    let secret = cluster.file()["credentials"]["secret_access_key"].as_str().unwrap().to_owned();
    let log = std::fs::read_to_string(cluster.path().join("supervisor.log")).unwrap();
    assert!(!log.contains(&secret), "the log shows the secret: {log}");
}
