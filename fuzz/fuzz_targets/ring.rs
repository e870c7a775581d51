//! Feeds bytes to the interpreter of `src/fuzz/`. A violation is a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ringloop::run_bytes(bytes));
