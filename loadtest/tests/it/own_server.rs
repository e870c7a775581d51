//! The server that a run without a URL starts.

use crate::common::Running;

/// Goal: the server never outlives the program that started it, even when that is killed.
///
/// Method: kill a run without giving it time for anything. The server holds the same stderr; the
/// stream ends when both are gone.
///
/// Kills: a server that waits to be told.
#[test]
fn it_dies_with_its_parent() {
    let mut run = Running::start(&["-c", "5", "-d", "1h", "--warmup", "0", "--progress", "plain"]);
    run.wait_for_line("/3600s");
    run.kill_and_wait_for_stderr();
}
