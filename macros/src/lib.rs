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
///
/// # Panics
///
/// The program panics with the reason and the usual remedy if no driver works.
///
/// ```
/// #[ringloop::main]
/// async fn main() -> std::io::Result<()> {
///     ringloop::task::yield_now().await;
///     Ok(())
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
