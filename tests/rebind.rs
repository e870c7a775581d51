//! A server that is killed and started again at once.
//!
//! The test binary runs itself as the server: the environment variable names the address.

mod common;

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpStream as StdStream;
use std::process::{Command, Stdio};

use common::{LIMIT, within};
use ringloop::Runtime;
use ringloop::net::TcpListener;

const SERVER: &str = "RINGLOOP_TEST_REBIND_SERVER";

/// Accepts until it is killed.
fn serve() {
    ringloop::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("{}", listener.local_addr().unwrap());
        let mut streams = Vec::new();
        loop {
            let mut stream = listener.accept().await.unwrap();
            streams.push(ringloop::spawn(async move { stream.recv().await.map(drop) }));
        }
    });
}

/// Goal: a supervisor can restart a server at once after it was killed (H84).
///
/// Method: a child serves 200 connections and is killed; its address is bound as soon as it has
/// been reaped, several times.
///
/// Kills: a single attempt to bind. (Seen on Linux 6.18 on io_uring, where most of the attempts
/// fail without the retry; on epoll the address is free at once.)
#[test]
fn an_address_of_a_killed_server_can_be_bound() {
    if env::var_os(SERVER).is_some() {
        return serve();
    }
    within(LIMIT, || {
        for _ in 0..5 {
            let mut server = Command::new(env::current_exe().unwrap())
                .args(["--exact", "an_address_of_a_killed_server_can_be_bound", "--nocapture"])
                .env(SERVER, "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(server.stdout.take().unwrap()).lines();
            let is_addr = |line: &String| line.starts_with("127.0.0.1:");
            let addr = lines.map(|line| line.unwrap()).find(is_addr).expect("an address");
            let clients: Vec<_> = (0..200).map(|_| StdStream::connect(&*addr).unwrap()).collect();
            server.kill().unwrap();
            server.wait().unwrap();
            let runtime = Runtime::builder().on_unhandled(|_| ()).build().unwrap();
            let bound = runtime.block_on(async { TcpListener::bind(&*addr).map(drop) });
            bound.expect("an address that becomes free");
            drop(clients);
        }
    });
}
