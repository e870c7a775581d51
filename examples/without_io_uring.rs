//! Runs a program, and its children, with io_uring forbidden. So a server can be tried as in a
//! container whose seccomp profile forbids io_uring.
//!
//! ```sh
//! cargo build --release --examples
//! target/release/examples/without_io_uring target/release/examples/echo 127.0.0.1:7000
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or("usage: without_io_uring PROGRAM [ARGUMENTS...]")?;

    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let filter: BpfProgram = SeccompFilter::new(
        BTreeMap::from(calls.map(|call| (call, Vec::new()))),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32), // as Docker's default profile does
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()?;
    seccompiler::apply_filter(&filter)?; // holds across fork and exec

    Err(Command::new(program).args(arguments).exec().into()) // `exec` returns only if it fails
}
