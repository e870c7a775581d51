//! `select!`: the first of several futures.
//!
//! The macro makes a [list](super::list) of branches and awaits [`select`]. The handler of the
//! branch that has won is code of the macro's caller, so it may await, return or break.
//!
//! **Patterns.** A branch whose output does not match its pattern is disabled, and the others go
//! on. So the pattern is checked inside of [`Select`], and its variables are bound outside. The
//! check is a match arm with a guard that is false: bindings are moved only after a guard is true,
//! so the output is still whole. This works for every pattern, with `mut` and `ref` in it.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::list::{And, End, Start};
use crate::task::{coop, queue};

/// Waits for the first of several branches, drops the others, and runs the handler of the first.
///
/// ```text
/// select! {
///     biased;                                    // optional: poll in the order of the branches
///     PATTERN = FUTURE => HANDLER,
///     PATTERN = FUTURE, if CONDITION => HANDLER, // a disabled branch if the condition is false
///     else => HANDLER,                           // optional: if no branch is enabled
/// }
/// ```
///
/// This is tokio's `select!`, with up to 64 branches:
///
/// 1. All conditions are evaluated, then all future expressions, also those of disabled branches.
/// 2. The enabled futures are polled, until an output matches its pattern. A branch whose output
///    does not match is disabled. If no branch is left, `else` runs.
/// 3. All futures are dropped. A future behind `&mut` is not dropped, so it can be selected again.
/// 4. The handler runs. It may use what the futures have borrowed, and may contain `.await`, `?`,
///    `return`, `break` and `continue`.
///
/// **Order.** Each poll starts with a random branch and goes on in their order, so that no branch
/// is starved by one that is always ready. After `biased;` it starts with the first branch, which
/// is cheaper and makes the order a promise: put a shutdown signal first, and a busy stream last.
/// [`Builder::shuffle_seed`](crate::Builder::shuffle_seed) makes the random order reproducible.
///
/// **Budget.** When a poll of the task has used up its budget, `select!` is pending until the next
/// turn, even if a future that does not know the budget is ready. A completed `select!` spends at
/// least one unit of the budget, so a loop over it always yields.
///
/// # Cancel safety
///
/// The futures that lose are dropped, so each should be cancel safe. Reads, accepts, channels,
/// timers and join handles of this crate are. An operation that is not cancel safe is pinned
/// outside of the loop and selected by `&mut`.
///
/// # Panics
///
/// If no branch is enabled and there is no `else`.
///
/// # Examples
///
/// A deadline that is kept across the rounds of a loop:
///
/// ```
/// use ringloop::time::{interval, sleep};
/// use std::pin::pin;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let mut deadline = pin!(sleep(Duration::from_millis(20)));
///     let mut ticks = interval(Duration::from_millis(1));
///     let mut count = 0;
///     loop {
///         ringloop::select! {
///             biased;
///             _ = &mut deadline => break,
///             _ = ticks.tick(), if count < 3 => count += 1,
///         }
///     }
///     assert_eq!(count, 3);
/// });
/// ```
///
/// Patterns that may fail, and `else`:
///
/// ```
/// use std::future::ready;
///
/// ringloop::run(async {
///     let number = ringloop::select! {
///         Some(number) = ready(None) => number,
///         Ok(number) = ready("7".parse::<u32>()) => number,
///         else => 0,
///     };
///     assert_eq!(number, 7);
///
///     let text = ringloop::select! {
///         Some(()) = ready(None) => "a value",
///         else => "no branch is left",
///     };
///     assert_eq!(text, "no branch is left");
/// });
/// ```
///
/// A handler that uses what a future has borrowed, and returns an error with `?`:
///
/// ```
/// use ringloop::time::sleep;
/// use std::time::Duration;
///
/// async fn push(numbers: &mut Vec<u32>) -> Result<(), std::num::ParseIntError> {
///     let push_one = async { numbers.push(1) };
///     ringloop::select! {
///         () = push_one => numbers.push("2".parse()?),
///         () = sleep(Duration::from_secs(60)) => {}
///     }
///     Ok(())
/// }
///
/// ringloop::run(async {
///     let mut numbers = Vec::new();
///     push(&mut numbers).await.unwrap();
///     assert_eq!(numbers, [1, 2]);
/// });
/// ```
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)+) => { $crate::__select!(Biased [] {} $($branches)+) };
    ($($branches:tt)+) => { $crate::__select!(Fair [] {} $($branches)+) };
    () => { compile_error!("select! needs at least one branch") };
}

/// The parser of [`select!`](crate::select).
///
/// `[..]` has the nested pattern of each parsed branch. Another branch wraps all of them once more.
/// `{..}` has the branches.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // All branches are parsed.
    ($start:ident [$($nested:pat,)*] {$($bind:pat, $future:expr, $guard:expr => $handler:expr;)*}
     else => $otherwise:expr $(,)?) => {
        match {
            let is_enabled = [$($guard),*];
            let outcome = $crate::task::combine::select(
                $crate::task::combine::Start::$start,
                is_enabled,
                $crate::task::combine::End $(.and($crate::task::combine::branch(
                    ::std::pin::pin!(::std::future::IntoFuture::into_future($future)),
                    |#[allow(unused_mut)] mut output| {
                        let mut is_match = false;
                        match output {
                            #[allow(unused_variables, unused_mut)]
                            $bind if { is_match = true; false } => unreachable!(),
                            _ => {}
                        }
                        is_match.then_some(output)
                    },
                )))*,
            )
            .await;
            outcome
        } {
            $(::std::option::Option::Some($nested) => $handler,)*
            ::std::option::Option::None => $otherwise,
            #[allow(unreachable_patterns)]
            _ => unreachable!("the pattern of a branch has matched once and not twice"),
        }
    };
    ($start:ident [$($nested:tt)*] {$($parsed:tt)*}) => {
        $crate::__select!($start [$($nested)*] {$($parsed)*}
            else => panic!("select!: all branches are disabled, and there is no else branch"))
    };
    // One more branch: a block, with or without a comma, or another expression.
    ($start:ident [$($nested:pat,)*] {$($parsed:tt)*}
     $bind:pat = $future:expr $(, if $guard:expr)? => { $($handler:tt)* }, $($rest:tt)*) => {
        $crate::__select!($start
            [$($crate::task::combine::Taken::Former($nested),)*
             $crate::task::combine::Taken::Last($bind),]
            {$($parsed)* $bind, $future, true $(&& $guard)? => { $($handler)* };} $($rest)*)
    };
    ($start:ident [$($nested:pat,)*] {$($parsed:tt)*}
     $bind:pat = $future:expr $(, if $guard:expr)? => { $($handler:tt)* } $($rest:tt)*) => {
        $crate::__select!($start
            [$($crate::task::combine::Taken::Former($nested),)*
             $crate::task::combine::Taken::Last($bind),]
            {$($parsed)* $bind, $future, true $(&& $guard)? => { $($handler)* };} $($rest)*)
    };
    ($start:ident [$($nested:pat,)*] {$($parsed:tt)*}
     $bind:pat = $future:expr $(, if $guard:expr)? => $handler:expr $(, $($rest:tt)*)?) => {
        $crate::__select!($start
            [$($crate::task::combine::Taken::Former($nested),)*
             $crate::task::combine::Taken::Last($bind),]
            {$($parsed)* $bind, $future, true $(&& $guard)? => $handler;} $($($rest)*)?)
    };
}

/// The greatest number of branches of one macro.
const BRANCHES_MAX: usize = 64;

/// One branch of `select!`. `accepts` returns the output if it matches the branch's pattern.
#[derive(Debug)]
pub struct Branch<'f, F, A> {
    future: Pin<&'f mut F>,
    accepts: A,
}

/// Makes a branch.
pub fn branch<F, A>(future: Pin<&mut F>, accepts: A) -> Branch<'_, F, A>
where
    F: Future,
    A: FnMut(F::Output) -> Option<F::Output>,
{
    Branch { future, accepts }
}

/// The output of one branch of a list.
#[derive(Debug)]
pub enum Taken<A, B> {
    /// The output of one of the branches before the last one.
    Former(A),
    /// The output of the last branch.
    Last(B),
}

/// The output of an empty list.
#[derive(Debug)]
pub enum Never {}

/// A list of branches of `select!`.
pub trait Branches {
    /// The output of one branch.
    type Output;

    /// The number of branches.
    const COUNT: usize;

    /// Polls the enabled branches whose index is in `range`, in their order, until one is ready and
    /// its output is accepted. Disables those that have ended.
    fn poll_range(
        &mut self,
        range: &Range<usize>,
        is_enabled: &mut [bool],
        cx: &mut Context<'_>,
    ) -> Poll<Self::Output>;
}

impl Branches for End {
    type Output = Never;

    const COUNT: usize = 0;

    fn poll_range(
        &mut self,
        _range: &Range<usize>,
        _is_enabled: &mut [bool],
        _cx: &mut Context<'_>,
    ) -> Poll<Never> {
        Poll::Pending
    }
}

impl<L, F, A> Branches for And<L, Branch<'_, F, A>>
where
    L: Branches,
    F: Future,
    A: FnMut(F::Output) -> Option<F::Output>,
{
    type Output = Taken<L::Output, F::Output>;

    const COUNT: usize = L::COUNT + 1;

    #[inline]
    fn poll_range(
        &mut self,
        range: &Range<usize>,
        is_enabled: &mut [bool],
        cx: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.former.poll_range(range, is_enabled, cx) {
            return Poll::Ready(Taken::Former(output));
        }
        if !range.contains(&L::COUNT) || !is_enabled[L::COUNT] {
            return Poll::Pending;
        }
        let output = ready!(self.last.future.as_mut().poll(cx));
        is_enabled[L::COUNT] = false;
        match (self.last.accepts)(output) {
            Some(output) => Poll::Ready(Taken::Last(output)),
            None => Poll::Pending,
        }
    }
}

/// Waits for the first enabled branch whose output is accepted. Returns `None` when no branch is
/// enabled.
pub fn select<const N: usize, L: Branches>(
    start: Start,
    is_enabled: [bool; N],
    branches: L,
) -> Select<N, L> {
    const { assert!(N == L::COUNT && N <= BRANCHES_MAX, "select! has at most 64 branches") };
    Select { start, is_enabled, branches }
}

/// The future of [`select`].
#[derive(Debug)]
#[must_use = "a select does nothing unless it is awaited"]
pub struct Select<const N: usize, L> {
    start: Start,
    is_enabled: [bool; N],
    branches: L,
}

impl<const N: usize, L: Branches + Unpin> Future for Select<N, L> {
    type Output = Option<L::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Select { start, is_enabled, branches } = self.get_mut();
        coop::combinator(cx, |cx| {
            let first = match start {
                Start::Fair if N > 1 => queue::random_below(N),
                Start::Fair | Start::Biased => 0,
            };
            for range in [first..N, 0..first] {
                if let Poll::Ready(output) = branches.poll_range(&range, is_enabled, cx) {
                    return Poll::Ready(Some(output));
                }
            }
            if is_enabled.contains(&true) { Poll::Pending } else { Poll::Ready(None) }
        })
    }
}
