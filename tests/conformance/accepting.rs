//! Listeners: many clients, clients that reset, and the end of a listener.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    Dice, LIMIT, Woken, any_addr, poll_once, scaled, turns, unanswering_addr, until,
};
use crate::{Body, Driver, bodies, limits};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::{Handle, spawn};

pub(crate) const SHARED: &[Body] = bodies![
    a_crowd_is_accepted,
    i2_clients_that_give_up_do_not_stop_a_listener,
    i11_a_server_that_closes_refuses_and_finishes,
    i11_closing_races_with_clients_that_connect,
    connects_end_each_in_its_own_way,
    a_forgotten_accept_holds_up_no_other,
    the_errors_of_a_listener_do_not_stay,
    dropping_a_listener_leaves_its_heir_listening,
    a_handover_loses_no_connection,
    an_address_can_be_bound_again_at_once,
    a_taken_address_is_waited_for,
];

/// Goal: a thousand connections at once are all accepted, in order of arrival, and served.
///
/// Method: connect them all before the first accept, by four tasks.
///
/// Kills: an accept bound that loses connections while the accept is cancelled; a waiter that is
/// not woken.
fn a_crowd_is_accepted(on: Driver) {
    on.run(async {
        let listener = Rc::new(TcpListener::bind(any_addr()).unwrap());
        let addr = listener.local_addr().unwrap();
        // More than the queue of a listener. Both ends of each have a descriptor.
        let crowd = scaled(1000).max(300).min(limits::limit().rlim_cur / 3) / 4 * 4;
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let listener = Rc::clone(&listener);
                spawn(async move {
                    for _ in 0..crowd / 4 {
                        let mut stream = listener.accept().await.unwrap();
                        spawn(async move {
                            let bytes = stream.recv().await.unwrap();
                            stream.send(bytes).await.unwrap();
                        });
                    }
                })
            })
            .collect();
        let mut clients = Vec::new();
        for number in 0..crowd {
            let mut client = std::net::TcpStream::connect(addr).unwrap();
            client.write_all(&number.to_ne_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            clients.push(client);
        }
        for worker in workers {
            worker.await.unwrap();
        }
        let reading = std::thread::spawn(move || {
            for (number, mut client) in (0..crowd).zip(clients) {
                let mut reply = Vec::new();
                client.read_to_end(&mut reply).unwrap();
                assert_eq!(reply, number.to_ne_bytes());
            }
        });
        until(|| reading.is_finished()).await;
        reading.join().unwrap();
    });
}

/// Goal: clients that reset their connection before it is accepted do not affect the listener: the
/// others are accepted (I2).
///
/// Method: clients in random order, two thirds of which reset at once. Every other one is accepted;
/// an accepted stream of a client that reset has an end.
///
/// Kills: an `accept` that fails because of a peer; an accept that has ended and is not armed
/// again.
fn i2_clients_that_give_up_do_not_stop_a_listener(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut dice = Dice::new(61);
        for _ in 0..scaled(100) {
            if dice.roll(2) == 0 {
                assert!(poll_once(pin!(listener.accept())).await.is_pending());
                turns(dice.roll(3) as usize).await;
            }
            let mut honest = Vec::new();
            for number in 0..9_u8 {
                let client = std::net::TcpStream::connect(addr).unwrap();
                if dice.roll(3) == 0 || number == 8 {
                    (&client).write_all(&[number]).unwrap();
                    honest.push((number, client));
                } else {
                    let client = socket2::Socket::from(client);
                    client.set_linger(Some(Duration::ZERO)).unwrap();
                }
            }
            for (number, _client) in &honest {
                let mut first_byte = [0];
                loop {
                    let mut stream = listener.accept().await.unwrap();
                    if stream.read(&mut first_byte).await.is_ok_and(|count| count == 1) {
                        break;
                    }
                }
                assert_eq!(first_byte, [*number], "in order of arrival");
            }
        }
    });
}

/// Goal: after a listener is dropped, connects are refused, and the connections that were accepted
/// go on until they end (I11).
///
/// Method: three handlers in the middle of their work; drop the listener with its accept armed,
/// connect at once; then the handlers finish.
///
/// Kills: a listener that listens until the completion of its cancel; connections that end with it.
fn i11_a_server_that_closes_refuses_and_finishes(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        let mut handlers = Vec::new();
        for _ in 0..3 {
            clients.push(std::net::TcpStream::connect(addr).unwrap());
            let mut stream = listener.accept().await.unwrap();
            handlers.push(spawn(async move {
                let request = stream.recv().await.unwrap();
                stream.send(request).await.unwrap();
                stream.close().await.unwrap();
            }));
        }
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        turns(3).await;
        drop(listener);
        let refused = std::net::TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        turns(5).await;
        assert!(handlers.iter().all(|handler| !handler.is_finished()));
        for (client, handler) in clients.iter_mut().zip(handlers) {
            client.write_all(b"finish").unwrap();
            handler.await.unwrap();
            let mut reply = Vec::new();
            client.read_to_end(&mut reply).unwrap();
            assert_eq!(reply, b"finish");
        }
    });
}

/// Goal: a client that connects while the listener closes is served, refused, or sees its
/// connection end. The connect always returns, and no descriptor stays open (I11).
///
/// Method: 20 connects in progress when the listener is dropped after a random number of turns.
///
/// Kills: connections that stay in the queue of a dropped listener; a refused connect that is not
/// an error.
fn i11_closing_races_with_clients_that_connect(on: Driver) {
    on.run(async {
        let mut dice = Dice::new(62);
        let outcomes = [const { Cell::new(0) }; 2].map(Rc::new);
        for _ in 0..scaled(100) {
            let listener = TcpListener::bind(any_addr()).unwrap();
            let addr = listener.local_addr().unwrap();
            let clients: Vec<_> = (0..20)
                .map(|_| {
                    let outcomes = outcomes.clone();
                    let delay = dice.roll(4) as usize;
                    spawn(async move {
                        turns(delay).await;
                        let Ok(mut stream) = TcpStream::connect(addr).await else {
                            outcomes[0].set(outcomes[0].get() + 1);
                            return;
                        };
                        outcomes[1].set(outcomes[1].get() + 1);
                        let end = stream.recv().await;
                        assert!(end.is_err() || end.is_ok_and(|bytes| bytes.is_empty()));
                    })
                })
                .collect();
            for _ in 0..dice.roll(3) {
                let _ended = poll_once(pin!(listener.accept())).await;
                turns(1).await;
            }
            drop(listener);
            for client in clients {
                client.await.unwrap();
            }
        }
        until(|| Handle::current().metrics().in_flight == 0).await;
        let [refused, connected] = outcomes.map(|outcome| outcome.get());
        assert!(refused > 0 && connected > 0, "{refused} refused, {connected} connected");
    });
}

/// Goal: concurrent connects end independently: connected, refused, or timed out.
///
/// Method: 30 of each at once; the connected ones exchange a number, which shows mixed-up results.
///
/// Kills: a result of another connect; a deadline that ends the others; `SO_ERROR` not read.
fn connects_end_each_in_its_own_way(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let refusing = std::net::TcpListener::bind(any_addr()).unwrap();
        let refusing_addr = refusing.local_addr().unwrap();
        drop(refusing);
        let (full_addr, _full) = unanswering_addr();
        let serving = spawn(async move {
            for _ in 0..30 {
                let mut stream = listener.accept().await.unwrap();
                spawn(async move {
                    let number = stream.recv().await.unwrap();
                    stream.send(number).await.unwrap();
                });
            }
        });
        let connects: Vec<_> = (0..90_u8)
            .map(|number| {
                spawn(async move {
                    let short = Duration::from_millis(5);
                    let kind = |result: std::io::Result<TcpStream>| result.unwrap_err().kind();
                    match number % 3 {
                        0 => {
                            let mut stream = TcpStream::connect(addr).await.unwrap();
                            stream.send(vec![number]).await.unwrap();
                            assert_eq!(*stream.recv().await.unwrap(), [number]);
                        }
                        1 => {
                            let error = kind(TcpStream::connect(refusing_addr).await);
                            assert_eq!(error, ErrorKind::ConnectionRefused);
                        }
                        _ => {
                            let error = kind(TcpStream::connect_timeout(full_addr, short).await);
                            assert_eq!(error, ErrorKind::TimedOut);
                        }
                    }
                })
            })
            .collect();
        for connect in connects {
            connect.await.unwrap();
        }
        serving.await.unwrap();
        until(|| Handle::current().metrics().in_flight == 0).await;
    });
}

/// Goal: accepts that are alive and not polled any more delay neither a later accept nor one that
/// waits behind them, on TCP and on Unix sockets.
///
/// Method: two accepts polled once and kept; a task waits behind them; connect. Then connect again
/// and accept.
///
/// Kills: a connection that is reserved for a waiter that was woken; one wake per connection.
fn a_forgotten_accept_holds_up_no_other(on: Driver) {
    on.run(async {
        let listener = Rc::new(TcpListener::bind(any_addr()).unwrap());
        let addr = listener.local_addr().unwrap();
        let mut kept = [(); 2].map(|()| Box::pin(listener.accept()));
        for accept in &mut kept {
            assert!(Arc::new(Woken::default()).poll(accept.as_mut()).is_pending());
        }
        let behind = spawn({
            let listener = Rc::clone(&listener);
            async move { listener.accept().await.map(drop) }
        });
        turns(2).await;
        let first = std::net::TcpStream::connect(addr).unwrap();
        behind.await.unwrap().unwrap();
        let second = std::net::TcpStream::connect(addr).unwrap();
        turns(5).await;
        drop(listener.accept().await.unwrap());
        drop((first, second, kept));
    });
}

/// Goal: on a listening socket that was shut down, every accept returns the error, waiting or not,
/// and a loop over them yields to other tasks.
///
/// Method: shut the socket down under an accept that waits; then accept in a loop, for ten turns.
///
/// Kills: an accept that hangs after the first error; an error that does not spend the budget.
fn the_errors_of_a_listener_do_not_stay(on: Driver) {
    on.run(async {
        let listener = Rc::new(TcpListener::bind(any_addr()).unwrap());
        let other = Rc::clone(&listener);
        let waiting = spawn(async move { other.accept().await.map(drop) });
        turns(3).await;
        socket2::SockRef::from(&*listener).shutdown(Shutdown::Both).unwrap();
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let is_over = Rc::new(Cell::new(false));
        let over = Rc::clone(&is_over);
        let task = spawn(async move {
            let mut count = 0;
            while !over.get() {
                let error = listener.accept().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                count += 1;
            }
            count
        });
        turns(10).await;
        is_over.set(true);
        let count = task.await.unwrap();
        assert!(
            (1..=20).contains(&count),
            "{count}: each asks the kernel, once a turn at the most"
        );
    });
}

/// Goal: another descriptor of the socket works after the listener is dropped.
///
/// Method: arm an accept, duplicate the descriptor, drop the listener; connect, and accept through
/// the duplicate.
///
/// Kills: `shutdown(2)` on a listener.
fn dropping_a_listener_leaves_its_heir_listening(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        turns(2).await;
        let heir = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned().unwrap());
        drop(listener);
        until(|| Handle::current().metrics().in_flight == 0).await;
        let client = std::net::TcpStream::connect(addr).unwrap();
        heir.set_nonblocking(false).unwrap();
        let (_, peer) = heir.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

/// Goal: a handover loses no connection: those that were accepted and not taken are returned in
/// order, and later ones wait in the socket's backlog.
///
/// Method: five clients with an accept armed, and one taken; give the socket away; two more
/// clients; accept with std. The socket is blocking, as std makes it.
///
/// Kills: dropping the queue; a close of the socket; an accept that stays in flight; a
/// listener that stays non-blocking.
fn a_handover_loses_no_connection(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect(addr).unwrap();
        let first: Vec<_> = (0..5).map(|_| connect()).collect();
        let taken = listener.accept().await.unwrap();
        assert_eq!(taken.peer_addr().unwrap(), first[0].local_addr().unwrap());
        turns(3).await;
        let (heir, given) = listener.into_std().await.unwrap();
        assert_eq!(Handle::current().metrics().in_flight, 0);
        let later: Vec<_> = (0..2).map(|_| connect()).collect();

        let mut served: Vec<_> = given.iter().map(|stream| stream.peer_addr().unwrap()).collect();
        while served.len() < 6 {
            served.push(heir.accept().unwrap().1);
        }
        let clients = first[1..].iter().chain(&later);
        let clients: Vec<_> = clients.map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(served, clients);
        heir.set_nonblocking(true).unwrap();
        assert_eq!(heir.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "none twice");
    });
}

/// Goal: an address can be bound again right after its listener was dropped, in the same poll.
///
/// Method: a patience of zero. A second listener is refused while the first exists.
///
/// Kills: a descriptor that stays open until the turn has ended; a retry that succeeds too early.
fn an_address_can_be_bound_again_at_once(on: Driver) {
    on.run(async {
        let mut listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let quick = || TcpListener::builder().bind_patience(Duration::from_nanos(1));
        for _ in 0..3 {
            assert!(poll_once(pin!(listener.accept())).await.is_pending());
            turns(2).await;
            let taken = quick().bind(addr).unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            drop(listener);
            listener = quick().bind(addr).unwrap();
        }
    });
}

/// Goal: a bind waits, within the bound, until the address becomes free, and reports that once.
///
/// Method: a thread holds the address and releases it after a while, within a far longer bound.
/// Then an address that stays in use.
///
/// Kills: one attempt; a wait without an end; a wait that is not reported.
fn a_taken_address_is_waited_for(on: Driver) {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&reports);
    let runtime = on
        .builder()
        .on_unhandled(move |unhandled| heard.borrow_mut().push(unhandled.to_string()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let holder = std::net::TcpListener::bind(any_addr()).unwrap();
        let addr = holder.local_addr().unwrap();
        let patient = || TcpListener::builder().bind_patience(Duration::from_millis(3));
        assert_eq!(patient().bind(addr).unwrap_err().kind(), ErrorKind::AddrInUse);

        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(holder);
        });
        let listener = TcpListener::builder().bind_patience(LIMIT).bind(addr).unwrap();
        thread.join().unwrap();
        let client = std::net::TcpStream::connect(addr).unwrap();
        assert_eq!(
            listener.accept().await.unwrap().peer_addr().unwrap(),
            client.local_addr().unwrap()
        );
    });
    drop(runtime);
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].starts_with("binding to 127."), "{reports:?}");
}
