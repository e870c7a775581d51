//! Runs a program, and all that it starts, as if io_uring were forbidden: shows how a server
//! behaves in a container that refuses it, without a container.
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
    seccompiler::apply_filter(&filter)?; // stays in force across exec and fork

    Err(Command::new(program).args(arguments).exec().into()) // returns only if it fails
}
