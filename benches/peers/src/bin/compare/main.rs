//! The comparison: runs contestants in turn and prints one table.
//!
//! For each number of connections there are rounds, and each round runs every contestant once (A B
//! C, A B C, …), so that other activity of the machine affects all of them alike. Each run has a
//! new server on one core and a new generator on another.
//!
//! The first contestant is the floor. A claim needs both ratios, that of the minima and that of the
//! medians: the minimum excludes other activity, the median excludes luck.

mod server;
mod table;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use peers::args::{self, Args};
use peers::report::Report;
use peers::sys;

use server::Server;

const USAGE: &str = "usage: compare [-c 100,1000] [--rounds 5] [-d SECONDS] [-s BYTES] \
[--warmup SECONDS] [--server-core 0] [--drive-core 1] [--no-floors] [NAME=COMMAND ...]

COMMAND is split at blanks; it must print `listening on HOST:PORT` on its first line. The two
floors come first, ring_floor before epoll_floor, unless --no-floors leaves the floor to the first
NAME given.";

struct Options {
    connections: Vec<u64>,
    rounds: usize,
    window_s: f64,
    warmup_s: f64,
    size: u64,
    server_core: usize,
    drive_core: usize,
    contestants: Vec<Contestant>,
}

/// A contestant: its name in the table, and the command that starts its server.
struct Contestant {
    name: String,
    command: Vec<String>,
}

fn main() -> ExitCode {
    args::exit_code(run())
}

fn run() -> io::Result<ExitCode> {
    let options = parse()?;
    build_siblings()?;
    // This process and the generators that it starts. Servers are pinned separately.
    sys::pin_to_core(options.drive_core).map_err(|error| {
        io::Error::other(format!(
            "core {}: {error}: see --drive-core",
            options.drive_core
        ))
    })?;

    let mut rows = Vec::new();
    for &connections in &options.connections {
        let mut group: Vec<table::Row> = options
            .contestants
            .iter()
            .map(|contestant| table::Row::new(connections, &contestant.name))
            .collect();
        for round in 1..=options.rounds {
            for (contestant, row) in options.contestants.iter().zip(&mut group) {
                eprint!(
                    "c={connections} round {round}/{}: {}: ",
                    options.rounds, contestant.name
                );
                match run_once(contestant, connections, &options) {
                    Ok(report) => {
                        eprintln!("{}", table::brief(&report));
                        row.add(&report);
                    }
                    Err(error) => {
                        eprintln!("failed: {error}");
                        row.add_failure();
                    }
                }
            }
        }
        rows.push(group);
    }
    print_heading(&options);
    print!("{}", table::render(&rows));
    let clean = rows.iter().flatten().all(table::Row::is_clean);
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn parse() -> io::Result<Options> {
    let mut connections = String::from("100,1000");
    let mut with_floors = true;
    let mut options = Options {
        connections: Vec::new(),
        rounds: 5,
        window_s: 2.0,
        warmup_s: 0.5,
        size: 64,
        server_core: 0,
        drive_core: 1,
        contestants: Vec::new(),
    };
    let mut args = Args::new(USAGE);
    while let Some(arg) = args.take() {
        match arg.as_str() {
            "-c" => connections = args.value(&arg),
            "--rounds" => options.rounds = args.value(&arg),
            "-d" => options.window_s = args.value(&arg),
            "-s" | "--size" => options.size = args.value(&arg),
            "--warmup" => options.warmup_s = args.value(&arg),
            "--server-core" => options.server_core = args.value(&arg),
            "--drive-core" => options.drive_core = args.value(&arg),
            "--no-floors" => with_floors = false,
            _ => match arg.split_once('=') {
                Some((name, command)) if !name.starts_with('-') && !command.trim().is_empty() => {
                    options.contestants.push(Contestant {
                        name: name.to_owned(),
                        command: command.split_whitespace().map(str::to_owned).collect(),
                    });
                }
                _ => args.reject(&format!("{arg}?")),
            },
        }
    }
    for part in connections.split(',') {
        match part.trim().parse() {
            Ok(count) if count > 0 => options.connections.push(count),
            _ => args.reject(&format!(
                "-c {connections}: {part} is no number of connections"
            )),
        }
    }
    if with_floors {
        options
            .contestants
            .splice(0..0, [floor("ring_floor")?, floor("epoll_floor")?]);
    }
    if options.contestants.is_empty() || options.rounds == 0 {
        args.reject("nothing to run");
    }
    Ok(options)
}

fn floor(name: &str) -> io::Result<Contestant> {
    let path = sibling(name)?;
    let path = path
        .to_str()
        .ok_or_else(|| io::Error::other("a path that is not UTF-8"))?;
    let command = vec![path.to_owned(), "--listen".into(), "127.0.0.1:0".into()];
    Ok(Contestant {
        name: name.to_owned(),
        command,
    })
}

/// The path of a binary of this package, which is in the same directory.
fn sibling(name: &str) -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Builds the floors and the generator, as `cargo run` builds only the binary that it runs. Does
/// nothing if the comparison was started directly.
fn build_siblings() -> io::Result<()> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other(
            "the figures of a debug build are useless: use --release",
        ));
    }
    let (Some(cargo), Some(package)) = (
        std::env::var_os("CARGO"),
        std::env::var_os("CARGO_MANIFEST_DIR"),
    ) else {
        return Ok(());
    };
    let manifest = PathBuf::from(package).join("Cargo.toml");
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--bins", "--manifest-path"])
        .arg(manifest)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other("the floors do not build"))
    }
}

fn run_once(
    contestant: &Contestant,
    connections: u64,
    options: &Options,
) -> Result<Report, io::Error> {
    let server = Server::start(&contestant.command, options.server_core)?;
    let mut drive = Command::new(sibling("drive")?);
    drive
        .arg(server.addr())
        .args(["-c", &connections.to_string()])
        .args(["-d", &options.window_s.to_string()])
        .args(["-s", &options.size.to_string()])
        .args(["--warmup", &options.warmup_s.to_string()])
        .args(["--pid", &server.pid().to_string()])
        .stderr(std::process::Stdio::inherit());
    sys::bind_child(&mut drive, options.drive_core);
    let output = drive.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // With errors the generator fails and still reports: the table has them.
    Report::from_json(&text)
        .ok_or_else(|| io::Error::other(format!("drive ended with {}", output.status)))
}

fn print_heading(options: &Options) {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!(
        "{} B echo, closed loop; {} rounds of {} s; Linux {}; server on core {}, generator on core \
         {}. Ratios are of CPU per message, to {}.\n",
        options.size,
        options.rounds,
        options.window_s,
        kernel.trim(),
        options.server_core,
        options.drive_core,
        options.contestants[0].name,
    );
}
