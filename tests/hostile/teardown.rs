//! Peers that flood while the loop ends.

use std::cell::Cell;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringloop::net::TcpListener;
use ringloop::{Handle, Unhandled, spawn};

use crate::assault::add_row;
use crate::common::{any_addr, open_fds, scaled, until};
use crate::counting::live_bytes;
use crate::{Body, Driver, bodies, peers, serving};

pub(crate) const ALONE: &[Body] = bodies![peers_that_flood_while_the_loop_ends_have_a_bound];

/// Goal: a loop ends, and leaves no descriptor or memory, while peers send as fast as they can.
/// Method: a thread writes to every connection, before and after the loop is dropped. Kills: a
/// teardown that waits until a peer is silent; a receive that is armed again while the loop drains.
fn peers_that_flood_while_the_loop_ends_have_a_bound(on: Driver) {
    drop(on.runtime());
    let count = scaled(64).max(8);
    let flood = Arc::new(Flood::default());
    let flooding = std::thread::spawn({
        let flood = Arc::clone(&flood);
        move || flood.run()
    });
    let (fds, bytes) = (open_fds(), live_bytes());
    let undrained = Rc::new(Cell::new(0));
    let counter = Rc::clone(&undrained);
    let hook = move |unhandled: &Unhandled| {
        let is_undrained = matches!(unhandled, Unhandled::UndrainedShutdown { .. });
        counter.set(counter.get() + u64::from(is_undrained));
    };
    let runtime = on.builder().on_unhandled(hook).build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let all = peers::connect_all(listener.local_addr().unwrap(), count);
        *flood.peers.lock().unwrap() = all;
        drop(spawn(async move {
            loop {
                drop(spawn(serving::echo_boxed(listener.accept().await.unwrap())));
            }
        }));
        let tasks = || Handle::current().metrics().tasks;
        until(|| tasks() > count && flood.written.load(Ordering::Relaxed) > 2 * count).await;
    });
    drop(runtime);
    let undrained_count = undrained.get();
    drop(undrained);
    drop(std::mem::take(&mut *flood.peers.lock().unwrap()));
    let left = live_bytes() - bytes;
    flood.is_over.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
    assert_eq!(open_fds(), fds);
    add_row(format!(
        "| {} | flood while the loop ends | {count} | | | | | | | {undrained_count} | {left} |",
        on.name()
    ));
    assert_eq!((undrained_count, left), (0, 0), "loops that were not drained, bytes left");
}

/// The state that the flooding thread and the trial share.
#[derive(Default)]
struct Flood {
    peers: Mutex<Vec<TcpStream>>,
    written: AtomicU64,
    is_over: AtomicBool,
}

impl Flood {
    fn run(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            for peer in self.peers.lock().unwrap().iter() {
                self.written.fetch_add(peers::write(peer, serving::PIECE), Ordering::Relaxed);
                peers::read(peer, 512);
            }
        }
    }
}
