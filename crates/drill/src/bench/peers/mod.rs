//! Systems to compare with, started for the benchmark on this machine and ended with it.

pub(super) mod dynoxide;
pub(super) mod etcd;

use super::BenchError;
use std::net::TcpListener;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Starts a peer's process, which is killed when the child is dropped.
pub(super) fn spawn(program: &str, arguments: &[String], hint: &'static str) -> Result<Child, BenchError> {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => BenchError::Missing { program: program.to_owned(), hint },
        _ => BenchError::system(program, error),
    })
}

/// Free ports of the loopback interface, all different.
fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    let mut ports = [0; N];
    // All held until the last one is known.
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
