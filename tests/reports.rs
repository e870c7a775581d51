//! Reports on standard error: a reader that does not read must not stop the loop.

mod common;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use common::{LIMIT, turns, within};
use ringloop::{Handle, Runtime};

/// Marks the process that makes the reports.
const CHILD: &str = "RINGLOOP_REPORTS_CHILD";

/// The number of detached tasks that panic while standard error is full.
const PANICS: u64 = 20;

/// Marks the lines of the child among those of its harness.
const MARK: &str = "reports-child ";

/// Makes `PANICS` reports with standard error full, waits until the parent has emptied it, and
/// makes one of another kind.
fn child() {
    std::panic::set_hook(Box::new(|_| {})); // the hook of std writes to standard error, and blocks
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for _ in 0..PANICS {
            drop(ringloop::spawn(async { panic!("while full") }));
        }
        turns(3).await;
        let metrics = Handle::current().metrics();
        println!("\n{MARK}{} {}", metrics.tasks, metrics.reports_suppressed);
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
        ringloop::call_soon(|| panic!("when empty"));
        turns(3).await;
    });
    std::mem::forget(runtime.handle()); // the end of the runtime still prints the counts
}

/// Fills the pipe of `writer`. Opening it again gives an open file of its own, so that the writer
/// itself, which the child inherits, still blocks.
fn fill(writer: &impl AsRawFd) -> usize {
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut again =
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
    let mut filled_bytes = 0;
    loop {
        match again.write(&[b'.'; 4096]) {
            Ok(count) => filled_bytes += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return filled_bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Goal: with a full pipe as standard error the loop goes on, and the reports that could not be
/// written are counted: in the metrics at once, on standard error as soon as it takes a line.
///
/// Method: a child whose standard error is a full pipe makes 20 reports of one kind and then
/// prints on standard output. Then the pipe is emptied, and the child makes one report of another
/// kind and ends. Every line is whole, and the counts on the lines add up to 20, however
/// many of the 20 the rate limit admitted.
///
/// Kills: a write that may block; a report that is lost without a count; an end of the runtime that
/// does not print the counts.
#[test]
fn a_full_standard_error_does_not_block_the_loop() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    within(LIMIT, || {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let filled_bytes = fill(&writer);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_full_standard_error_does_not_block_the_loop", "--nocapture"])
            .env(CHILD, "1")
            .env("RINGLOOP_DEBUG", "0") // no lines about slow polls, which load causes
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(writer)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answer = lines.find_map(|line| Some(line.ok()?.strip_prefix(MARK)?.to_owned()));
        assert_eq!(answer, Some(format!("0 {PANICS}")), "tasks left, reports suppressed");

        reader.read_exact(&mut vec![0; filled_bytes]).unwrap();
        child.stdin.take().unwrap().write_all(b"empty\n").unwrap();
        assert!(lines.all(|line| line.is_ok()));
        assert!(child.wait().unwrap().success());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        check(&text);
    });
}

/// The report of the second kind with the number of lost lines, then the rest at the end.
fn check(text: &str) {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ringloop: ")).collect();
    let [report, rest] = lines[..] else { panic!("not two lines: {text}") };
    assert!(report.contains("when empty"), "{text}");
    let lost = number_before(report, " reports before this one were lost");
    let suppressed = number_before(rest, " more of the kind TaskPanic");
    assert!(lost > 0, "{text}");
    assert_eq!(lost + suppressed, PANICS, "{text}");
    assert!(text.ends_with('\n'), "{text}");
}

fn number_before(line: &str, words: &str) -> u64 {
    let (before, _) = line.split_once(words).unwrap_or_else(|| panic!("{words} in {line}"));
    let digits = before.rsplit(|byte: char| !byte.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}
