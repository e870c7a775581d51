//! The attributes `#[ringloop::main]` and `#[ringloop::test]`.
//!
//! This crate is a part of [ringloop](https://docs.rs/ringloop), which exports both with its
//! feature `macros`. The attributes expand to calls of its public functions, by the path
//! `::ringloop`.
//!
//! What lives here: the options of an attribute (`options.rs`) and the expansion (`expand.rs`),
//! both on `proc_macro2`, so that tests can call them. Whatever is wrong with the input is a
//! compile error at the place that is wrong.

mod expand;
mod options;

use proc_macro::TokenStream;

use options::Attribute;

/// Makes an `async fn main` that runs on a new loop.
///
/// The body runs with `ringloop::run`: when it ends, the remaining tasks are dropped and the loop
/// is closed. The function may return what `fn main` may. This is tokio's `main` attribute.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `driver` | a `DriverChoice`: `"auto"`, `"uring"` or `"epoll"` | `"auto"` |
/// | `ctrl_c` | what the first Ctrl-C does: `"default"` or `"graceful"` | `"default"` |
///
/// With `ctrl_c = "graceful"` the first Ctrl-C drops the future of the body at its next await,
/// inside the loop, so destructors run. Then the remaining tasks are dropped, and the process ends
/// with exit code 130. The second Ctrl-C ends the process at once. This is asyncio's `run`; see
/// `ringloop::signal::until_ctrl_c`, which also has the outcome as a value. With `"default"` the
/// disposition of the process is not changed: the first Ctrl-C ends it, and no destructor runs.
///
/// # Panics
///
/// The program panics with the reason and the usual remedy if no driver works, or if the process
/// cannot listen for Ctrl-C.
///
/// ```
/// #[ringloop::main]
/// async fn main() -> std::io::Result<()> {
///     ringloop::task::yield_now().await;
///     Ok(())
/// }
/// ```
///
/// With a graceful end:
///
/// ```
/// #[ringloop::main(ctrl_c = "graceful")]
/// async fn main() {
///     let _guard = (); // its destructor also runs after Ctrl-C
///     ringloop::task::yield_now().await;
/// }
/// ```
///
/// With a driver:
///
/// ```
/// #[ringloop::main(driver = "epoll")]
/// async fn main() {
///     let handle = ringloop::Handle::current();
///     assert_eq!(handle.driver().kind(), ringloop::DriverKind::Epoll);
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::Main, arguments.into(), item.into()).into()
}

/// Makes a test of an `async fn`, which runs on every driver of the machine.
///
/// Each run has a new runtime. The drivers are io_uring and epoll, or the one that the environment
/// variable `RINGLOOP_DRIVER` selects. Where io_uring is refused, one line on standard error has
/// the reason, and the test runs on epoll. A failure names the driver. The function may return what
/// a test may, and other attributes, such as `#[should_panic]`, are kept. This is tokio's `test`
/// attribute, on several drivers.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `start_paused` | whether each runtime starts with a clock that is paused | `false` |
/// | `driver` | the only driver, `"uring"` or `"epoll"`; `"auto"` is every driver | `"auto"` |
///
/// ```
/// use ringloop::time::{Instant, sleep};
/// use std::time::Duration;
///
/// #[ringloop::test(start_paused = true)]
/// async fn an_hour_takes_no_time() {
///     let start = Instant::now();
///     sleep(Duration::from_secs(3600)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::Test, arguments.into(), item.into()).into()
}
