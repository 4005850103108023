//! Opens up to 10,000 connections to a server in a separate process, and prints the memory per connection: connections that sent nothing, idle ones after a
//! request (keep-alive), and event streams. `CAIRN_BENCH_CONNECTIONS` sets the number (10,000 when absent).
//!
//! Fails when 10,000 connections take more than 600 MB, or one more than 50 KB.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

struct Server {
    child: Child,
    address: String,
    key: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Server {
    fn start(data: &std::path::Path, connections: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cairn"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(["--set", "head_seconds=600", "--set", "event_streams=20000"])
            .args(["--set", &format!("connections={}", connections + 100)])
            .env("CAIRN_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let word = |name: &str| said[name].as_str().expect("text").to_owned();
        Self {
            child,
            address: word("url").replace("http://", ""),
            key: word("adminKey"),
        }
    }

    /// Returns the resident memory of the process in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|n| n.parse().ok()).expect("a number")
    }

    /// Opens a connection, sends a request if given, and waits for the first bytes of its response.
    fn connect(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        if !sent.is_empty() {
            stream.write_all(sent.as_bytes()).expect("sent");
            let mut head = [0; 12];
            stream.read_exact(&mut head).expect("an answer");
            assert_eq!(&head, b"HTTP/1.1 200");
        }
        stream
    }
}

fn main() {
    let wanted: usize = std::env::var("CAIRN_BENCH_CONNECTIONS").map_or(10_000, |n| {
        n.parse().expect("CAIRN_BENCH_CONNECTIONS is a number")
    });
    let files = rlimit::increase_nofile_limit(wanted as u64 + 200).expect("a limit");
    assert!(
        files > wanted as u64 + 100,
        "only {files} files may be open; raise the hard limit (ulimit -Hn)"
    );
    println!("connections        number   KiB each   MiB of the server   ms each");
    for kind in ["that sent nothing", "kept alive", "streams of events"] {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), wanted);
        let sent = match kind {
            "kept alive" => "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "streams of events" => format!(
                "GET /kb/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
                server.key
            ),
            _ => String::new(),
        };
        // More streams than one tenant may have; they show the cost of one.
        let most = if kind == "streams of events" {
            wanted / 2
        } else {
            wanted
        };
        let before = server.memory();
        let mut open = Vec::with_capacity(most);
        for step in 1..=5 {
            let began = Instant::now();
            let number = most * step / 5 - open.len();
            open.extend((0..number).map(|_| server.connect(&sent)));
            // Connections are served in order of arrival.
            drop(server.connect("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
            let (now, ms) = (server.memory(), began.elapsed().as_secs_f64() * 1000.0);
            let each = now.saturating_sub(before) as f64 / open.len() as f64;
            println!(
                "{kind:<18} {:>6} {each:>10.1} {:>19.0} {:>9.2}",
                open.len(),
                now as f64 / 1024.0,
                ms / number as f64
            );
            assert!(each < 50.0, "a connection costs {each} KiB");
            assert!(now < 600 << 10, "{now} KiB");
        }
    }
}
