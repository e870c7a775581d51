//! The server that a run without a URL starts.

use crate::common::Running;

/// Goal: the server ends with the program that started it, even if that is killed.
///
/// Method: kill a run with SIGKILL. The server has the same stderr open, so the stream ends when
/// both processes have ended.
///
/// Kills: a server that waits for a stop request.
#[test]
fn the_server_ends_with_its_parent() {
    let mut run = Running::start(&["-c", "5", "-d", "1h", "--warmup", "0", "--progress", "plain"]);
    run.wait_for_line("/3600s");
    run.kill_and_wait_for_stderr();
}
