//! Outputs that fail during or after a run, without the loss of another output.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{
    PROGRAM, Running, Server, assert_exit, loadtest, scratch_file, stderr, stdout, unused_url,
};

/// A file that can be opened, and whose writes fail with ENOSPC.
const FULL: &str = "/dev/full";

const SHORT: [&str; 6] = ["-d", "200ms", "--warmup", "0", "-c", "2"];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn assert_lines(text: &str, count: usize) {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("loadtest: ")).collect();
    assert_eq!(lines.len(), count, "{text}");
    assert!(lines.iter().all(|line| line.contains("cannot write") && line.contains("No space")));
}

/// Goal: an output that fails is one line on stderr and exit code 1. The summary and every other
/// output are written.
///
/// Method: each kind of file in turn is `/dev/full`, and the others and the summary are complete.
/// Then two at once.
///
/// Kills: an output that ends the program; a dependency on the order of the files; one line for
/// several.
#[test]
fn a_failed_output_does_not_lose_the_others() {
    let server = Server::start();
    let options = ["--json", "--html", "--hlog", "--hgrm"];
    let paths = options.map(|option| scratch_file(&format!("lost{option}")));
    let names = ["\"schema_version\"", "</html>", "Tag=", "Total count"];
    for broken in [&[0][..], &[1], &[2], &[3], &[0, 3]] {
        let mut arguments = SHORT.to_vec();
        for (index, option) in options.iter().enumerate() {
            if broken.contains(&index) {
                symlink(FULL, &paths[index]).unwrap();
            }
            arguments.extend([option, paths[index].to_str().unwrap()]);
        }
        arguments.push(&server.url);
        let output = loadtest(&arguments);
        assert_exit(&output, 1);
        assert!(stdout(&output).contains("\nLoad         sent "), "{}", stdout(&output));
        assert_lines(stderr(&output), broken.len());
        for (index, path) in paths.iter().enumerate() {
            assert!(
                broken.contains(&index) || read(path).contains(names[index]),
                "{option}",
                option = options[index]
            );
            fs::remove_file(path).unwrap();
        }
    }
}

/// A directory in which some files are links to `/dev/full`.
fn directory_with_full(name: &str, full: &[&str]) -> PathBuf {
    let directory = scratch_file(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    full.iter().for_each(|file| symlink(FULL, directory.join(file)).unwrap());
    directory
}

/// Goal: the same holds for `--out-dir`, for a series, after an interrupt, and for a report that is
/// rendered again.
///
/// Method: a directory in which three files of each run are `/dev/full`; three runs; an interrupted
/// run; `loadtest report`, `loadtest compare` and the report of an interval log.
///
/// Kills: the loss of an output in one of the commands.
#[test]
fn every_command_keeps_its_other_outputs() {
    let server = Server::start();
    let directory = directory_with_full("lost-dir", &["run.txt", "run.csv", "run.html"]);
    let out = ["--out-dir", directory.to_str().unwrap(), &server.url];
    let [json, hlog] = ["run.json", "run.hlog"].map(|name| directory.join(name));
    let whole = || {
        let report: serde_json::Value = serde_json::from_str(&read(&json)).unwrap();
        assert!(read(&hlog).contains("Tag="));
        fs::remove_file(&json).unwrap();
        report
    };
    for more in [&[][..], &["--reps", "3"]] {
        let output = loadtest(&[&SHORT[..], more, &out].concat());
        assert_exit(&output, 1);
        assert!(stdout(&output).contains("\nLoad         sent "), "{}", stdout(&output));
        assert_lines(stderr(&output), 3);
        assert_eq!(whole()["reps"].as_array().unwrap().len(), more.len() * 3 / 2);
    }

    let common = ["-d", "1h", "--warmup", "0", "-c", "2", "--progress", "plain"];
    let mut run = Running::start(&[&common[..], &out].concat());
    run.wait_for_line("  p50 ");
    run.signal_group("INT");
    let (status, text) = run.end();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("interrupted"), "{text}");
    let report = read(&json);
    assert_eq!(whole()["interrupted"], true);

    fs::write(&json, report).unwrap();
    let name = json.to_str().unwrap();
    for (arguments, wanted) in [
        (&["report", name, "--html", FULL][..], "\nLoad  "),
        (&["report", hlog.to_str().unwrap(), "--hgrm", FULL], "service "),
        (&["compare", name, name, "--html", FULL], "p99"),
        (&["report", name, "-o", FULL], "\nLoad  "),
    ] {
        let output = loadtest(arguments);
        assert_exit(&output, 1);
        assert!(stdout(&output).contains(wanted), "{arguments:?}: {}", stdout(&output));
        assert_lines(stderr(&output), 1);
    }
    fs::remove_dir_all(&directory).unwrap();
}

/// Goal: on a nearly full disk, outputs that fit are written, and a file is complete or empty.
///
/// Method: a file system in memory of 40 KiB, too small for the page and large enough for the rest.
/// Skipped if mounting is forbidden.
///
/// Kills: an incomplete page that uses the space of later files.
#[test]
fn a_full_disk_keeps_complete_files() {
    let directory = directory_with_full("small-disk", &[]);
    let place = directory.to_str().unwrap();
    let script = "mount -t tmpfs -o size=40k none \"$1\" || exit 77; \
                  \"$0\" --out-dir \"$1/o\" -c 2 -d 200ms --warmup 0 --format quiet; \
                  code=$?; cd \"$1/o\"; wc -c *; exit $code";
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, PROGRAM, place])
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.code() == Some(1) && stdout(&output).contains("total") => {
            assert_lines(stderr(&output), 1);
            let empty = |line: &&str| line.trim_start().starts_with("0 ");
            let empty: Vec<&str> = stdout(&output).lines().filter(empty).collect();
            assert_eq!(empty.len(), 1, "{output:?}");
            assert!(empty[0].ends_with("run.html"), "{output:?}");
        }
        Ok(output) if output.status.success() => panic!("all outputs fit: {output:?}"),
        other => eprintln!("skipped: no file system can be mounted here: {other:?}"),
    }
    fs::remove_dir_all(&directory).unwrap();
}

/// Goal: a reader that closes stdout early, or a full stdout, loses no file, and a closed stderr
/// changes nothing.
///
/// Method: stdout is `/dev/full`, then a pipe that is closed at once; both outputs are such a pipe,
/// in runs that print on stderr.
///
/// Kills: a panic of `eprintln!`, exit code 101; files that are written after stdout only; a
/// summary that is lost.
#[test]
fn closed_standard_outputs_lose_no_file() {
    let server = Server::start();
    let json = scratch_file("lost-stdout.json");
    let arguments = [&SHORT[..], &["--json", json.to_str().unwrap(), &server.url]].concat();
    let run = |script: &str, arguments: &[&str]| {
        let output = Command::new("bash")
            .args(["-c", script, PROGRAM])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success() || output.stderr.is_empty(), "{output:?}");
        output
    };
    let full = run("\"$0\" \"$@\" > /dev/full", &arguments);
    assert_exit(&full, 1);
    let text = stderr(&full);
    assert!(text.contains("\nLoad         sent ") && text.contains("cannot print"), "{text}");
    assert!(read(&json).ends_with("}\n"));

    let closed = run("\"$0\" \"$@\" | true; exit ${PIPESTATUS[0]}", &arguments);
    assert_exit(&closed, 0);
    assert!(read(&json).ends_with("}\n"));

    let url = unused_url();
    for (code, arguments) in [(3, &["-c", "1", &url][..]), (2, &["--no-such"])] {
        let both = run("\"$0\" \"$@\" 2>&1 | true; exit ${PIPESTATUS[0]}", arguments);
        assert_exit(&both, code);
    }
    let missing = run("\"$0\" \"$@\"", &["--json", "/nonexistent/x.json", &server.url]);
    assert_exit(&missing, 1);
    assert!(stderr(&missing).contains("/nonexistent/x.json: No such file"), "{missing:?}");
    fs::remove_file(json).unwrap();
}
