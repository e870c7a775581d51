//! Enumeration of the receiving side's states, without a ring.

mod world;

use super::*;
use crate::enumeration::{Visited, visit_all};
use crate::sys::errno;
use world::World;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Input {
    /// A task polls a read; the number distinguishes its wakers.
    Read(usize),
    /// As `Read`, and the loop refuses to start an operation.
    ReadRefused,
    /// A read that uses one byte and puts the rest back.
    ReadOne,
    /// The kernel completes the receive.
    Short {
        more: bool,
    },
    Long {
        more: bool,
    },
    Private {
        is_filled: bool,
    },
    Fail(i32),
    End,
    Abandon,
    /// The turn is about to enter the kernel.
    Settle {
        have_tasks_run: bool,
        is_unix: bool,
    },
    /// The program takes a buffer of the pool, or gives back all that it has.
    Hold,
    Release,
    SetIdle,
    /// Half of the idle timeout passes.
    Tick,
    TimerFires,
    /// The loop ends, and with it the timer.
    LoopEnds,
    Leave,
    Stop,
}

/// Reading, and everything that may end it.
const READING: &[Input] = &[
    Input::Read(0),
    Input::Read(1),
    Input::ReadRefused,
    Input::ReadOne,
    Input::Short { more: true },
    Input::Short { more: false },
    Input::Long { more: true },
    Input::Fail(errno::ECANCELED),
    Input::Fail(errno::ECONNRESET),
    Input::End,
    Input::Abandon,
    Input::Settle { have_tasks_run: true, is_unix: true },
    Input::Settle { have_tasks_run: false, is_unix: false },
    Input::Leave,
    Input::Stop,
];

/// An empty pool, and what comes after it.
const POOL: &[Input] = &[
    Input::Read(0),
    Input::ReadRefused,
    Input::Short { more: true },
    Input::Private { is_filled: true },
    Input::Private { is_filled: false },
    Input::Fail(errno::ENOBUFS),
    Input::Fail(errno::EAGAIN),
    Input::Fail(errno::ECONNRESET),
    Input::End,
    Input::Abandon,
    Input::Hold,
    Input::Release,
    Input::Leave,
    Input::Stop,
];

/// The idle timeout.
const IDLE: &[Input] = &[
    Input::Read(0),
    Input::Read(1),
    Input::ReadRefused,
    Input::Short { more: true },
    Input::Short { more: false },
    Input::End,
    Input::SetIdle,
    Input::Tick,
    Input::TimerFires,
    Input::LoopEnds,
    Input::Leave,
    Input::Stop,
];

/// The end of a burst.
const BURST: &[Input] = &[
    Input::Read(0),
    Input::Short { more: true },
    Input::Short { more: false },
    Input::Fail(errno::ECANCELED),
    Input::Settle { have_tasks_run: true, is_unix: true },
    Input::Settle { have_tasks_run: true, is_unix: false },
    Input::Settle { have_tasks_run: false, is_unix: false },
    Input::Stop,
];

/// Goal: in every state that can be reached there is at most one receive, its private buffer stays
/// where the kernel writes until the completion, and it is cancelled at most once. A reader that
/// waits is woken when there is something to take, and has a receive in flight until then. Bytes
/// keep their order, a full queue stops the flood, and an empty pool makes no socket spin.
///
/// Method: all inputs of a topic in all states, breadth first, from the start or from a burst that
/// is nearly spent, against a model of the kernel and of the tasks.
///
/// Kills: arming in `Multishot`; `stop` or `leave` that frees or forgets the private buffer; a
/// cancel that leaves the key; a final completion of a cancelled receive that does not return to
/// `Idle`; a reader that is kept when bytes come, when the end comes or when an armed receive
/// cannot be replaced; `unread` at the back; no settling for a full queue; ENOBUFS followed by the
/// multishot; EAGAIN followed by one that does not poll first; a second idle timer, or one that is
/// set when the loop has ended.
#[test]
fn receiving_keeps_its_invariants_in_every_state() {
    let mut burst = vec![Input::Read(0)];
    burst.extend([Input::Short { more: true }; MULTISHOT_RETRIES as usize - 1]);
    let starts = [
        (&[][..], READING, 150),
        (&[][..], POOL, 80),
        (&[][..], IDLE, 100),
        (&burst[..], BURST, 20),
    ];
    for (start, inputs, states_min) in starts {
        let visited = visit_after(start, inputs);
        assert!(visited.states >= states_min, "{visited:?}");
    }
}

fn visit_after(start: &[Input], inputs: &[Input]) -> Visited {
    visit_all(inputs, |path| {
        let mut world = World::new();
        let is_possible = start.iter().chain(path).all(|&input| world.apply(input));
        is_possible.then(|| world.state())
    })
}
