//! `join!` and `try_join!`: all of several futures.
//!
//! The macros make a [list](super::list) of futures and await [`join`] or [`try_join`]. The outputs
//! of a list are nested pairs, `(((), a), b)`, from which the macros make a tuple.

use std::future::Future;
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::list::{And, End, Start};
use crate::task::coop;

/// Waits for all of several futures, and returns a tuple of their outputs.
///
/// The futures run concurrently within the task of the caller: they are polled one after the other
/// whenever the task is polled. They need not be `'static` and may borrow. This is tokio's `join!`,
/// with up to 64 futures.
///
/// **Order.** Each poll starts with another future, so that one that uses up the budget in every
/// poll does not starve the others. After `biased;` each poll starts with the first.
///
/// **Budget.** When a poll of the task has used up its budget, `join!` is pending until the next
/// turn. A completed `join!` spends at least one unit of the budget.
///
/// # Cancel safety
///
/// Dropping the `join!` drops all futures. Outputs of those that have ended are lost.
///
/// # Examples
///
/// ```
/// use ringloop::time::sleep;
/// use std::time::Duration;
///
/// async fn answer(number: u32) -> u32 {
///     sleep(Duration::from_millis(1)).await;
///     number
/// }
///
/// ringloop::run(async {
///     let (six, seven) = ringloop::join!(answer(6), answer(7));
///     assert_eq!(six * seven, 42);
/// });
/// ```
#[macro_export]
macro_rules! join {
    () => {{}};
    (biased; $($futures:tt)*) => { $crate::__join!(join Biased () [] {} $($futures)*) };
    ($($futures:tt)*) => { $crate::__join!(join Fair () [] {} $($futures)*) };
}

/// Waits for all of several futures, or for the first error.
///
/// Returns `Ok` with a tuple of the values, or the first `Err` at once. All futures that have not
/// ended are dropped then, which cancels them; in asyncio's `gather` they run on. All errors have
/// one type. This is tokio's `try_join!`, with up to 64 futures. Order and budget are those of
/// [`join!`](crate::join).
///
/// # Cancel safety
///
/// Dropping the `try_join!`, or an error, drops all futures. Outputs of those that have ended are
/// lost.
///
/// # Errors
///
/// The error of the first future that has failed. If several are ready in one poll, that is the
/// first in the order of the poll.
///
/// # Examples
///
/// ```
/// use std::future::{pending, ready};
///
/// ringloop::run(async {
///     let both = ringloop::try_join!(ready("6".parse::<u32>()), ready("7".parse()));
///     assert_eq!(both, Ok((6, 7)));
///
///     let failed = ringloop::try_join!(pending::<Result<u32, _>>(), ready("x".parse::<u32>()));
///     assert!(failed.is_err());
/// });
/// ```
#[macro_export]
macro_rules! try_join {
    (biased; $($futures:tt)*) => { $crate::__join!(try_join Biased () [] {} $($futures)*) };
    ($($futures:tt)*) => { $crate::__join!(try_join Fair () [] {} $($futures)*) };
}

/// The parser of [`join!`](crate::join) and [`try_join!`](crate::try_join).
///
/// Each step moves one future to the list, with a variable for its output. The variables have one
/// name and differ by hygiene, because each is of another expansion.
#[doc(hidden)]
#[macro_export]
macro_rules! __join {
    (join $start:ident $outputs:tt [$($output:ident)*] {$($list:tt)*}) => {{
        let start = $crate::task::combine::Start::$start;
        let $outputs =
            $crate::task::combine::join(start, $crate::task::combine::End $($list)*).await;
        ($($output,)*)
    }};
    (try_join $start:ident $outputs:tt [$($output:ident)*] {$($list:tt)*}) => {{
        let start = $crate::task::combine::Start::$start;
        let joined =
            $crate::task::combine::try_join(start, $crate::task::combine::End $($list)*).await;
        joined.map(|$outputs| ($($output,)*))
    }};
    ($join:ident $start:ident $outputs:tt [$($output:ident)*] {$($list:tt)*}
     $future:expr $(, $($rest:tt)*)?) => {
        $crate::__join!($join $start ($outputs, output) [$($output)* output] {$($list)*
            .and(::std::pin::pin!($crate::task::combine::MaybeDone::new(
                ::std::future::IntoFuture::into_future($future)
            )))} $($($rest)*)?)
    };
}

pin_project! {
    /// A future, then its output.
    #[derive(Debug)]
    pub struct MaybeDone<F: Future> {
        // Dropped when it has ended.
        #[pin]
        future: Option<F>,
        output: Option<F::Output>,
    }
}

impl<F: Future> MaybeDone<F> {
    /// A future that has not been polled.
    pub fn new(future: F) -> MaybeDone<F> {
        MaybeDone { future: Some(future), output: None }
    }

    /// Polls the future unless it has ended. Returns the output until it is taken.
    fn poll_output(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&mut Option<F::Output>> {
        let mut this = self.project();
        if let Some(future) = this.future.as_mut().as_pin_mut() {
            *this.output = Some(ready!(future.poll(cx)));
            this.future.set(None);
        }
        Poll::Ready(this.output)
    }

    fn take(self: Pin<&mut Self>) -> F::Output {
        self.project().output.take().expect("the future has ended, and its output is taken once")
    }
}

/// The greatest number of futures of one macro.
const FUTURES_MAX: usize = 64;

/// A list of futures that `join!` waits for.
pub trait Joined {
    /// The outputs, as nested pairs.
    type Outputs;

    /// The number of futures.
    const COUNT: usize;

    /// Polls the futures whose index is in `range`, in their order. Returns the number of those
    /// that have not ended.
    fn poll_range(&mut self, range: &Range<usize>, cx: &mut Context<'_>) -> usize;

    /// Takes the outputs. All futures have ended.
    fn take(&mut self) -> Self::Outputs;
}

impl Joined for End {
    type Outputs = ();

    const COUNT: usize = 0;

    fn poll_range(&mut self, _range: &Range<usize>, _cx: &mut Context<'_>) -> usize {
        0
    }

    fn take(&mut self) {}
}

impl<L: Joined, F: Future> Joined for And<L, Pin<&mut MaybeDone<F>>> {
    type Outputs = (L::Outputs, F::Output);

    const COUNT: usize = L::COUNT + 1;

    #[inline]
    fn poll_range(&mut self, range: &Range<usize>, cx: &mut Context<'_>) -> usize {
        let running_count = self.former.poll_range(range, cx);
        let is_running =
            range.contains(&L::COUNT) && self.last.as_mut().poll_output(cx).is_pending();
        running_count + usize::from(is_running)
    }

    fn take(&mut self) -> Self::Outputs {
        (self.former.take(), self.last.as_mut().take())
    }
}

/// A list of futures that `try_join!` waits for.
pub trait TryJoined<E> {
    /// The values, as nested pairs.
    type Values;

    /// The number of futures.
    const COUNT: usize;

    /// Polls the futures whose index is in `range`, in their order, until one fails. Returns the
    /// number of those that have not ended.
    fn poll_range(&mut self, range: &Range<usize>, cx: &mut Context<'_>) -> Result<usize, E>;

    /// Takes the values. All futures have ended, and none has failed.
    fn take(&mut self) -> Self::Values;
}

impl<E> TryJoined<E> for End {
    type Values = ();

    const COUNT: usize = 0;

    fn poll_range(&mut self, _range: &Range<usize>, _cx: &mut Context<'_>) -> Result<usize, E> {
        Ok(0)
    }

    fn take(&mut self) {}
}

impl<L, F, T, E> TryJoined<E> for And<L, Pin<&mut MaybeDone<F>>>
where
    L: TryJoined<E>,
    F: Future<Output = Result<T, E>>,
{
    type Values = (L::Values, T);

    const COUNT: usize = L::COUNT + 1;

    #[inline]
    fn poll_range(&mut self, range: &Range<usize>, cx: &mut Context<'_>) -> Result<usize, E> {
        let running_count = self.former.poll_range(range, cx)?;
        if !range.contains(&L::COUNT) {
            return Ok(running_count);
        }
        let Poll::Ready(output) = self.last.as_mut().poll_output(cx) else {
            return Ok(running_count + 1);
        };
        match output.take() {
            Some(Err(error)) => return Err(error),
            value => *output = value,
        }
        Ok(running_count)
    }

    fn take(&mut self) -> Self::Values {
        let Ok(value) = self.last.as_mut().take() else { unreachable!("no future has failed") };
        (self.former.take(), value)
    }
}

/// Waits for all futures of a list.
pub fn join<L: Joined>(start: Start, futures: L) -> Join<L> {
    const { assert!(L::COUNT <= FUTURES_MAX, "join! has at most 64 futures") };
    Join { start, next: 0, futures }
}

/// The future of [`join`].
#[derive(Debug)]
#[must_use = "a join does nothing unless it is awaited"]
pub struct Join<L> {
    start: Start,
    /// The index that the next poll starts with.
    next: usize,
    futures: L,
}

impl<L: Joined + Unpin> Future for Join<L> {
    type Output = L::Outputs;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Join { start, next, futures } = self.get_mut();
        coop::combinator(cx, |cx| {
            let first = rotate(*start, next, L::COUNT);
            let running_count =
                futures.poll_range(&(first..L::COUNT), cx) + futures.poll_range(&(0..first), cx);
            if running_count == 0 { Poll::Ready(futures.take()) } else { Poll::Pending }
        })
    }
}

/// Waits for all futures of a list, or for the first error.
pub fn try_join<E, L: TryJoined<E>>(start: Start, futures: L) -> TryJoin<E, L> {
    const { assert!(L::COUNT <= FUTURES_MAX, "try_join! has at most 64 futures") };
    TryJoin { start, next: 0, futures, error: PhantomData }
}

/// The future of [`try_join`].
#[derive(Debug)]
#[must_use = "a join does nothing unless it is awaited"]
pub struct TryJoin<E, L> {
    start: Start,
    /// The index that the next poll starts with.
    next: usize,
    futures: L,
    error: PhantomData<fn() -> E>,
}

impl<E, L: TryJoined<E> + Unpin> Future for TryJoin<E, L> {
    type Output = Result<L::Values, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let TryJoin { start, next, futures, .. } = self.get_mut();
        coop::combinator(cx, |cx| {
            let first = rotate(*start, next, L::COUNT);
            let mut running_count = 0;
            for range in [first..L::COUNT, 0..first] {
                match futures.poll_range(&range, cx) {
                    Ok(count) => running_count += count,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if running_count == 0 { Poll::Ready(Ok(futures.take())) } else { Poll::Pending }
        })
    }
}

/// The index that this poll starts with. The next poll starts with the one after it.
fn rotate(start: Start, next: &mut usize, count: usize) -> usize {
    match start {
        Start::Biased => 0,
        Start::Fair => {
            let first = *next;
            *next = if first + 1 < count { first + 1 } else { 0 };
            first
        }
    }
}
