//! Signals, received by the loop as ordinary events.
//!
//! - [`ctrl_c`] waits for one SIGINT, and [`signal`] for any number of one kind.
//! - [`on`] calls a function for each signal, as asyncio's `loop.add_signal_handler`.
//! - [`shutdown`] waits for SIGINT or SIGTERM, once: the next one ends the process.
//! - [`until_ctrl_c`] runs a future that the first Ctrl-C drops: the next one ends the process.
//!
//! No code of the program runs in a signal handler. The handler notes the signal and wakes each
//! loop that listens, on whichever thread it runs; the loop passes the signal to its listeners in
//! its next turn. **Signals of one kind that come before that are one. None is lost.** All
//! listeners of all loops receive it.
//!
//! **Dispositions.** A signal that is listened for does not have its default effect. When the last
//! listener of the process is dropped, the disposition of before is restored, so a later Ctrl-C
//! ends the process again. A signal that has come and that no listener has taken is then sent
//! again, for the restored disposition. So keep a listener while its signal must not end the
//! process.
//!
//! **Processes.** A child that executes another program starts with default dispositions. In a
//! forked child that does not listen itself, a signal that the parent listens for has its default
//! effect, and wakes no loop of the parent.
//!
//! ```no_run
//! use ringloop::signal::{self, SignalKind};
//!
//! ringloop::run(async {
//!     let mut hangups = signal::signal(SignalKind::hangup())?;
//!     while let Some(()) = hangups.recv().await {
//!         println!("reading the configuration again");
//!     }
//!     # Ok::<(), std::io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod callback;
mod interrupt;
mod kind;
mod listen;
mod shutdown;

pub use callback::{SignalGuard, on};
pub use interrupt::{Interrupted, UntilCtrlC, until_ctrl_c};
pub use kind::SignalKind;
pub use listen::{Signal, ctrl_c, signal};
pub use shutdown::{Shutdown, shutdown};
