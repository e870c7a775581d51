//! The driver's side of a script.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::Script;
use super::world::{FailAt, Seen};
use crate::buf::Loan;
use crate::driver::clock::Clock;
use crate::driver::info::RingSizes;
use crate::driver::uring::entry::{Cqe, Enter, Entry, Full, Ring, RingFlags, TimeoutForm};

/// A ring whose kernel is a script.
pub(crate) struct ScriptedRing {
    script: Script,
    sizes: RingSizes,
}

impl Script {
    pub(crate) fn ring(&self, sizes: RingSizes) -> ScriptedRing {
        ScriptedRing { script: self.clone(), sizes }
    }
}

impl ScriptedRing {
    pub(crate) fn clock(&self) -> Clock {
        Clock::Virtual(Rc::clone(&self.script.now_ns))
    }
}

impl Ring for ScriptedRing {
    fn push(&mut self, user_data: u64, entry: Entry) -> Result<(), Full> {
        let mut world = self.script.world.borrow_mut();
        if world.pushed.len() == self.sizes.sq_entries as usize {
            return Err(Full);
        }
        world.pushed.push_back((user_data, entry));
        if let Some(observer) = &mut world.observer {
            observer(Seen::Pushed(user_data, entry));
        }
        Ok(())
    }

    fn unsubmitted_count(&mut self) -> u32 {
        self.script.world.borrow().pushed.len() as u32
    }

    fn enter(&mut self, enter: Enter) -> io::Result<()> {
        let script = &self.script;
        let cq_entries = self.sizes.cq_entries as usize;
        let mut world = script.world.borrow_mut();
        world.enter_calls += 1;
        world.take_failure(FailAt::BeforeSubmission)?;
        let submitted_count = world.submit();
        world.take_failure(FailAt::AfterSubmission)?;
        world.expire(script.now_ns());
        // A submission that was cut short neither runs task work nor waits (H04).
        if enter == Enter::Submit || !world.pushed.is_empty() {
            return Ok(());
        }
        if submitted_count > 0 {
            world.run(cq_entries); // once behind the submission, and once before the wait
        }
        world.run(cq_entries);
        if enter == Enter::Collect || !world.queue.is_empty() {
            return Ok(()); // enough is there: the kernel does not look for a loss
        }
        let is_awake = world.can_wake();
        drop(world);
        if !is_awake {
            script.end_sleep();
        }
        let mut world = script.world.borrow_mut();
        world.run_after_sleep(cq_entries);
        world.take_loss(submitted_count)
    }

    fn reap(&mut self, out: &mut Vec<Cqe>, count_max: usize) {
        let mut world = self.script.world.borrow_mut();
        let count = count_max.min(world.queue.len());
        out.extend(world.queue.drain(..count));
    }

    fn reapable_count(&mut self) -> usize {
        self.script.world.borrow().queue.len()
    }

    fn flags(&mut self) -> RingFlags {
        let world = self.script.world.borrow();
        RingFlags { cq_overflow: !world.overflow.is_empty(), taskrun: !world.hidden.is_empty() }
    }

    fn dropped_count(&mut self) -> u32 {
        self.script.world.borrow().dropped_count
    }

    fn provide(&mut self, loan: Loan) {
        self.script.world.borrow_mut().unpublished.push(loan);
    }

    fn publish(&mut self) {
        let mut world = self.script.world.borrow_mut();
        let unpublished = std::mem::take(&mut world.unpublished);
        world.provided.extend(unpublished);
    }

    fn shut_down_reading(&mut self, fd: RawFd) -> io::Result<()> {
        self.script.world.borrow_mut().shut_down_reading(fd);
        Ok(())
    }

    fn set_timeout_form(&mut self, form: TimeoutForm) {
        self.script.world.borrow_mut().timeout_form = form;
    }

    fn register_eventfd(&mut self, _fd: RawFd) -> io::Result<()> {
        Ok(())
    }

    fn leak(self) {
        self.script.world.borrow_mut().is_leaked = true;
    }

    fn disown(self) {}

    fn sq_entries(&self) -> u32 {
        self.sizes.sq_entries
    }

    fn cq_entries(&self) -> u32 {
        self.sizes.cq_entries
    }
}
