//! Listeners: crowds, clients that give up, and the end of a server.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Dice, Woken, any_addr, poll_once, scaled, turns, unanswering_addr, until};
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
];

/// Goal: a thousand connections at once are all accepted, in order of arrival, and served.
///
/// Method: connect them all before the first accept, by four tasks.
///
/// Kills: an accept bound that loses what comes while it is being cancelled; a waiter not woken.
fn a_crowd_is_accepted(on: Driver) {
    on.run(async {
        let listener = Rc::new(TcpListener::bind(any_addr()).unwrap());
        let addr = listener.local_addr().unwrap();
        // More than a listener queues, and both ends of each have a descriptor.
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

/// Goal: clients that reset their connection before it is accepted cost the listener nothing: the
/// others are accepted (I2).
///
/// Method: clients in random order, two thirds of whom reset at once; every honest one is found,
/// and what comes out of the others is their end.
///
/// Kills: an `accept` that fails for a peer's sake; a dead accept that is not armed again.
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
                let mut said = [0];
                loop {
                    let mut stream = listener.accept().await.unwrap();
                    if stream.read(&mut said).await.is_ok_and(|count| count == 1) {
                        break;
                    }
                }
                assert_eq!(said, [*number], "in order of arrival");
            }
        }
    });
}

/// Goal: when a listener is dropped, connects are refused from that moment on, and the connections
/// that it had given out go on until they end by themselves (I11).
///
/// Method: three handlers in the middle of their work; drop the listener with its accept armed,
/// connect at once; then the handlers finish.
///
/// Kills: a listener that listens until its cancel has been reaped; connections tied to it.
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
/// connection end. It never waits for ever, and nothing stays behind (I11).
///
/// Method: 20 connects on their way when the listener is dropped after a random number of turns.
///
/// Kills: connections that stay in the queue of a listener that is gone; a refused connect that is
/// no error.
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

/// Goal: connects that are under way together end each in its own way: answered, refused, or out of
/// time.
///
/// Method: 30 of each at once; the answered ones exchange a number, so that none is another's.
///
/// Kills: an answer given to a neighbour; a deadline that ends the others; `SO_ERROR` not asked.
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

/// Goal: accepts that are alive and not polled any more hold up neither a later accept nor one that
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

/// Goal: a listening socket that was shut down gives its error to every accept, whether or not it
/// waits, and a loop over them lets others run.
///
/// Method: shut the socket down under an accept that waits; then accept in a loop, for ten turns.
///
/// Kills: an accept that hangs after the first error; an error around the budget.
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
