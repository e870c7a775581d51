//! Operations that the kernel forgets (H55).

use std::future::pending;
use std::io::Write;
use std::time::Duration;

use super::*;
use crate::driver::request::{Flags, Verb};
use crate::spawn;
use crate::time::sleep;

const BYTES: &[u8] = b"twelve bytes";

/// A scripted runtime that looks after its operations, as on a real ring.
fn audited() -> (Script, Runtime) {
    let (script, runtime) = scripted();
    runtime.block_on(async { context::current().reactor.audit_from_now_on() });
    (script, runtime)
}

/// Goal: a receive or an accept that the kernel has forgotten is asked for again within seconds, each
/// of many, and nothing is lost.
///
/// Method: 300 receives and an accept, real bytes and a real connection for all, no completion; four
/// seconds of virtual time. Then the answers to the second requests.
///
/// Kills: looking at the first operations only; cancelling at the first look; a cancel after which
/// nobody asks again.
#[test]
fn what_the_kernel_forgets_is_asked_for_again() {
    let (script, runtime) = audited();
    runtime.block_on(async {
        let mut peers = Vec::new();
        let mut readers = Vec::new();
        for _ in 0..300 {
            let (mut stream, mut peer) = stream();
            peer.write_all(BYTES).unwrap();
            peers.push(peer);
            readers.push(spawn(async move { stream.recv().await.unwrap().len() }));
        }
        let listener = listener();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accept = spawn(async move { listener.accept().await.map(drop) });
        sleep(Duration::from_millis(1_900)).await;
        assert_eq!(script.cancels(), [], "one look is not enough");
        let forgotten = script.in_flight();
        assert_eq!(forgotten.len(), 301);
        sleep(Duration::from_secs(3)).await;
        let in_flight = script.in_flight();
        assert_eq!(in_flight.len(), 301, "all were asked for again");
        assert!(forgotten.iter().all(|op| !in_flight.contains(op)));
        assert_eq!(metrics().lost_wakeups, script.cancels().len() as u64);

        for recv in script.all(Verb::Recv) {
            while !script.deliver_if_lent(recv, BYTES) {
                yield_now().await;
            }
        }
        let (fd, _file, _peer) = connection();
        script.complete(script.the(Verb::Accept), fd, Flags::NONE.with_more());
        for reader in readers {
            assert_eq!(reader.await.unwrap(), BYTES.len());
        }
        accept.await.unwrap().unwrap();
    });
    drop(runtime);
    assert!(!script.is_leaked());
}

/// Goal: operations that are answered, or have nothing to answer, are left alone.
///
/// Method: a receive on a socket that is always ready and is answered every 600 ms, and one on a
/// silent socket, for ten seconds of virtual time. Kills: not taking an answer for a sign of life;
/// taking age for suspicion.
#[test]
fn what_is_alive_is_left_alone() {
    let (script, runtime) = audited();
    runtime.block_on(async {
        let (mut busy, mut peer) = stream();
        peer.write_all(BYTES).unwrap();
        let (mut silent, _silent_peer) = stream();
        drop(spawn(async move {
            while let Ok(bytes) = busy.recv().await {
                assert_eq!(&*bytes, BYTES);
            }
        }));
        turns(2).await;
        let recv = script.the(Verb::Recv);
        drop(spawn(async move {
            let _ = silent.recv().await;
            pending::<()>().await;
        }));
        for _ in 0..16 {
            sleep(Duration::from_millis(600)).await;
            assert!(script.deliver(recv, BYTES, true));
        }
        assert_eq!(script.cancels(), []);
        assert_eq!(metrics().lost_wakeups, 0);
    });
}
