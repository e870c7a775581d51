//! The outputs of a run: formats and files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{Server, assert_exit, loadtest, scratch_file, stderr, stdout};

const SHORT: [&str; 6] = ["-d", "300ms", "--warmup", "0", "-c", "5"];

fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], arguments].concat()
}

/// A directory that does not exist yet.
fn scratch_directory(name: &str) -> PathBuf {
    let path = scratch_file(name);
    let _ = fs::remove_dir_all(&path);
    path
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Goal: `--out-dir` writes every format of the report, and `loadtest report` renders the same from
/// the JSON.
///
/// Method: one run. The files agree with the JSON, and `loadtest report` on that JSON writes the
/// same bytes.
///
/// Kills: a format that is missing or empty; formats of different runs; a figure that only the live
/// run has; lost names and labels.
#[test]
fn all_formats_have_the_same_report() {
    let (first, second) = (scratch_directory("forms"), scratch_directory("forms-again"));
    let deep = first.join("a/b");
    let arguments = ["--name", "n, m", "--label", "k=v", "--percentiles", "75,99.9"];
    let output =
        loadtest(&short(&[&arguments[..], &["--out-dir", deep.to_str().unwrap()]].concat()));
    assert_exit(&output, 0);
    let json = deep.join("run.json");
    let report: Value = serde_json::from_str(&read(&json)).unwrap();
    assert_eq!((&report["name"], &report["labels"]["k"]), (&"n, m".into(), &"v".into()));
    let text = read(&deep.join("run.txt"));
    assert_eq!(text, stdout(&output));
    assert!(text.contains("n, m   k=v") && text.contains("\n    p75 "), "{text}");
    assert!(!text.contains("\n    p90 "), "{text}");
    let completed = report["load"]["completed"].as_u64().unwrap();
    let service = &report["latency_us"]["service"];
    assert!(read(&deep.join("run.csv")).contains(&format!(",{completed},")));
    let total = format!("Total count    = {:12}", service["samples"].as_u64().unwrap());
    assert!(read(&deep.join("run.hgrm")).contains(&total));
    assert!(read(&deep.join("run.hlog")).contains("Tag=service,"));
    assert!(read(&deep.join("run.html")).contains(&format!("value=\"{completed}\"")));
    let intervals = report["intervals"].as_array().unwrap().len();
    assert_eq!(read(&deep.join("run.ndjson")).lines().count(), intervals);

    let again = ["report", json.to_str().unwrap(), "--out-dir", second.to_str().unwrap()];
    let output = loadtest(&again);
    assert_exit(&output, 0);
    let mut names: Vec<_> =
        fs::read_dir(&deep).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in &names {
        assert!(read(&second.join(name)) == read(&deep.join(name)), "{} differs", name.display());
    }
    assert_eq!(stdout(&output), text);
    fs::remove_dir_all(&first).unwrap();
    fs::remove_dir_all(&second).unwrap();
}

/// Goal: an interval log alone can be rendered.
///
/// Method: a run of each kind of loop. The percentile text from its log is the run's own, and the
/// table has its tags, also in the file of `-o`. Then formats that a log does not support, and a
/// file that is no log.
///
/// Kills: the percentiles of another tag; an empty report.
#[test]
fn an_interval_log_can_be_rendered() {
    let directory = scratch_directory("log");
    let [log, hgrm, again] = ["run.hlog", "run.hgrm", "again"].map(|name| directory.join(name));
    let [log_name, again_name] = [&log, &again].map(|path| path.to_str().unwrap());
    for (load, tag) in [(&[][..], "service "), (&["-R", "1k"], "response ")] {
        let out = ["--format", "quiet", "--out-dir", directory.to_str().unwrap()];
        assert_exit(&loadtest(&short(&[&out[..], load].concat())), 0);
        let output = loadtest(&["report", log_name, "--hgrm", again_name]);
        assert_exit(&output, 0);
        assert!(read(&again) == read(&hgrm), "{load:?}: another text than the run's");
        let text = stdout(&output);
        for tag in [tag, "connect "] {
            assert_eq!(text.matches(&format!("\n{tag}")).count(), 1, "{text}");
        }
        assert_eq!(stdout(&loadtest(&["report", log_name, "-o", again_name])), "");
        assert_eq!(read(&again), text);
    }
    for arguments in [&["--json", "x"][..], &["--format", "csv"], &[log_name]] {
        let output = loadtest(&[&["report", log_name], arguments].concat());
        assert_exit(&output, 2);
        let line = stderr(&output);
        assert!(line.contains("an interval log ") && line.lines().count() == 1, "{line}");
    }
    fs::write(&log, "no log").unwrap();
    let output = loadtest(&["report", log_name]);
    assert_exit(&output, 1);
    let line = stderr(&output);
    assert!(line.starts_with(&format!("loadtest: {log_name}: is not an interval log")), "{line}");
    assert_eq!((line.lines().count(), stdout(&output)), (1, ""));
    fs::remove_dir_all(&directory).unwrap();
}

/// Goal: outputs can be named one by one, and stdout has one document.
///
/// Method: several files with one command, and CSV on stdout; the same with `-o`.
///
/// Kills: an option that is parsed and not used; text before the CSV; output on stdout in spite of
/// `-o`.
#[test]
fn outputs_can_be_named_one_by_one() {
    let (hlog, hgrm) = (scratch_file("one.hlog"), scratch_file("one.hgrm"));
    let (series, csv) = (scratch_file("one.csv"), scratch_file("one-o.csv"));
    fs::write(&hgrm, "z".repeat(100_000)).unwrap(); // longer than a report: must be truncated
    let server = Server::start();
    let mut arguments = short(&["--format", "csv", "--hlog", hlog.to_str().unwrap()]);
    arguments.extend(["--hgrm", hgrm.to_str().unwrap(), "--timeseries", series.to_str().unwrap()]);
    arguments.push(&server.url);
    let output = loadtest(&arguments);
    assert_exit(&output, 0);
    assert_eq!((stdout(&output).lines().count(), stderr(&output)), (2, ""));
    assert!(
        stdout(&output).starts_with("schema_version,") && stdout(&output).contains(&server.url)
    );
    assert!(read(&hlog).starts_with('#') && read(&hgrm).trim_start().starts_with("Value "));
    assert!(!read(&hgrm).contains('z') && read(&series).starts_with("t_s,"));

    arguments.extend(["-o", csv.to_str().unwrap()]);
    let output = loadtest(&arguments);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "");
    assert!(read(&csv).starts_with("schema_version,"));
    for path in [hlog, hgrm, series, csv] {
        fs::remove_file(path).unwrap();
    }
}

/// Goal: a path that cannot be written is reported before the run, in one line.
///
/// Method: each option with a path under a file, and a target without a listener, so that a run
/// would end otherwise.
///
/// Kills: opening files after the run; another exit code; a line without the path.
#[test]
fn unwritable_paths_prevent_the_run() {
    let url = crate::common::unused_url();
    let file = scratch_file("a-file");
    fs::write(&file, "").unwrap();
    let bad = file.join("x.csv");
    let bad = bad.to_str().unwrap();
    for option in ["--json", "--html", "--hlog", "--hgrm", "--timeseries", "--out-dir", "-o"] {
        let output = loadtest(&[option, bad, &url]);
        assert_exit(&output, 1);
        let line = stderr(&output);
        assert!(line.contains(&format!("cannot write {bad}: ")), "{option}: {line}");
        assert_eq!((line.lines().count(), stdout(&output)), (1, ""));
    }
    fs::remove_file(file).unwrap();
}

/// Goal: a file that is no report of this schema is refused with its name and the reason.
///
/// Method: a missing file, no JSON, JSON without a version, another version, the version alone.
///
/// Kills: a panic; a report of zeros; an error about a field if the version is the reason.
#[test]
fn other_files_cannot_be_rendered() {
    let path = scratch_file("no-report.json");
    let name = path.to_str().unwrap();
    let check = |content: Option<&str>, wanted: &str| {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let output = loadtest(&["report", name]);
        assert_exit(&output, 1);
        let line = stderr(&output);
        assert!(line.starts_with(&format!("loadtest: {name}: ")), "{line}");
        assert!(line.contains(wanted) && line.lines().count() == 1, "{line}");
    };
    check(None, "No such file");
    check(Some("hello"), "is not JSON");
    check(Some("{}"), "no schema_version");
    check(Some("{\"schema_version\": 2}"), "schema_version 2, but this program reads 1");
    check(Some("{\"schema_version\": 1}"), "missing field");
    fs::remove_file(path).unwrap();
}

/// Goal: several reports become one HTML page, and no other output.
///
/// Method: the JSON of one run twice; then without `--html`, and with another output.
///
/// Kills: rendering the first report only; a text that is silently not printed.
#[test]
fn several_reports_become_one_page() {
    let (json, html) = (scratch_file("several.json"), scratch_file("several.html"));
    let (run, page) = (json.to_str().unwrap(), html.to_str().unwrap());
    let output = loadtest(&short(&["--format", "quiet", "--name", "a run", "--json", run]));
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "");
    let output = loadtest(&["report", run, run, "--html", page]);
    assert_exit(&output, 0);
    assert_eq!((stdout(&output), stderr(&output)), ("", ""));
    let text = read(&html);
    assert!(text.contains("<title>loadtest: 2 runs</title>"));
    assert_eq!(text.matches("<h1>a run</h1>").count(), 2);
    for arguments in [&["report", run, run][..], &["report", run, run, "--html", page, "-o", page]]
    {
        let output = loadtest(arguments);
        assert_exit(&output, 2);
        assert!(
            stderr(&output).contains("only be written to one --html FILE"),
            "{}",
            stderr(&output)
        );
    }
    fs::remove_file(json).unwrap();
    fs::remove_file(html).unwrap();
}
