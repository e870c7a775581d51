//! Tests of the whole program: arguments in; exit code, text and JSON out.
//!
//! Every test runs the real binary over loopback. No test sleeps to wait: it waits for a line, for
//! the end of a stream or for an exit, so its result depends on no duration.

mod abort;
mod churn;
mod closing;
mod common;
mod doctor;
mod drivers;
mod exits;
mod faults;
mod gates;
mod health;
mod http;
mod lossy;
mod lost_outputs;
mod open_loop;
mod outages;
mod outputs;
mod own_server;
mod payload;
mod refusals;
mod run;
mod sandbox;
mod series;
mod serve;
mod server_stats;
mod signals;
mod sources;
mod targets;
mod tls;
mod unix;
mod verify;
mod ws;
