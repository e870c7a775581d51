//! The future of a task, with what surrounds each of its polls.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::cell::JoinCell;
use super::inherit::Inherited;
use super::join_error::JoinError;
use super::registry::Entry;
use crate::error::Unhandled;

pin_project! {
    /// A task's future. A panic of it, and of its destructor, is caught and passed to the joiner.
    pub(super) struct Supervised<F: Future> {
        #[pin]
        future: Option<F>,
        ending: Ending<F::Output>,
        entry: Entry,
        inherited: Inherited,
    }
}

impl<F: Future> Supervised<F> {
    pub(super) fn new(
        future: F,
        cell: Rc<JoinCell<F::Output>>,
        entry: Entry,
        inherited: Inherited,
    ) -> Supervised<F> {
        Supervised { future: Some(future), ending: Ending::new(cell), entry, inherited }
    }
}

impl<F: Future> Future for Supervised<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let header = this.ending.cell.as_ref().expect("polled after its end").header();
        let _running = this.entry.run(header);
        let inherited = this.inherited.enter();
        let result = if header.is_aborted() {
            Err(JoinError::Cancelled)
        } else {
            let future = this.future.as_mut().as_pin_mut().expect("polled after its end");
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(output)) => Ok(output),
                Err(payload) => Err(JoinError::panicked(payload)),
            }
        };
        // The locals are dropped before the joiner is woken.
        let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
        drop(inherited);
        this.ending.drop_guarded(std::mem::take(this.inherited));
        this.entry.leave();
        this.ending.finish(match dropped {
            Ok(()) => result,
            Err(payload) => this.ending.with_drop_panic(result, payload),
        });
        Poll::Ready(())
    }
}

/// Passes the result to the joiner. A task that is dropped unfinished is `Cancelled`.
pub(super) struct Ending<T> {
    cell: Option<Rc<JoinCell<T>>>,
}

impl<T> Ending<T> {
    pub(super) fn new(cell: Rc<JoinCell<T>>) -> Ending<T> {
        Ending { cell: Some(cell) }
    }

    /// The result of a task whose locals panicked when they were dropped. A panic of the task
    /// itself takes precedence.
    fn with_drop_panic(
        &self,
        result: Result<T, JoinError>,
        payload: Box<dyn Any + Send>,
    ) -> Result<T, JoinError> {
        let Some(cell) = &self.cell else { return result };
        if matches!(result, Err(JoinError::Panic(_))) {
            cell.reporter().report_and_drop(Unhandled::DropPanic { payload });
            return result;
        }
        cell.reporter().drop_guarded(result);
        Err(JoinError::panicked(payload))
    }

    fn drop_guarded<V>(&self, value: V) {
        if let Some(cell) = &self.cell {
            cell.reporter().drop_guarded(value);
        }
    }

    pub(super) fn finish(&mut self, result: Result<T, JoinError>) {
        if let Some(cell) = self.cell.take() {
            cell.finish(result);
        }
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.finish(Err(JoinError::Cancelled));
    }
}
