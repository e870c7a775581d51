//! `loadtest`: a load tester for TCP servers, built on ringloop.
//!
//! The layers, top to bottom. A layer imports only from layers below it:
//!
//! ```text
//! cli        arguments, and one function per command: run, report, compare, ab, serve, doctor
//! doctor     what a run would find on this machine, without a run
//! series     several runs, each a child process: --reps, --find-max, ab
//! run        one run on the main thread: starts the workers, runs the phases, builds the report
//! worker     one thread with one event loop and its share of the connections
//! serve      the built-in servers
//! protocol   messages and replies: echo, HTTP/1.1, WebSocket
//! net        connect, TCP and Unix streams, TLS
//! analysis   conclusions from reports: confidence, gates, comparison
//! report     the model (data only), and its renderers: text, JSON, CSV, HTML, histogram files
//! plan       options of a run: target, rate, schedule, gates
//! measure    histograms, counters, failures, statistics
//! host       this machine: limits, /proc, signals, system calls
//! base       units, addresses, exit codes, printing
//! ```
//!
//! Where each promise of the report is kept:
//!
//! * Every message has one outcome, and every latency belongs to one message:
//!   `measure::counters::MessageCounters::check`, at the end of every run.
//! * A closed loop is labelled as one, and its latencies are service times: the report's header.
//! * A connection counts when it was *served*, and every reply is compared with its message.
//! * The live display costs the workers nothing: `measure::published`.
//! * When the generator is the bottleneck, the report has the reason: `report::model::Generator`.

// They panic when the reader has closed its end; `base::print` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod analysis;
mod base;
pub mod cli;
mod doctor;
mod host;
mod measure;
mod net;
mod plan;
mod protocol;
mod report;
mod run;
mod series;
mod serve;
mod worker;
