//! Checks the options of the connections and their sockets.

use crate::base::exit::{Error, Exit};
use crate::cli::args::RunArgs;
use crate::plan::defaults::CONNECT_RATE;
use crate::plan::load::{Churn, CloseStyle, ReconnectStyle, SocketOptions};
use crate::plan::target_url::Url;
use crate::run::config::{ConnectSpeed, ConnectionsConfig};

/// The connections, of which `count` send.
pub(super) fn check(args: &RunArgs, count: u32) -> Result<ConnectionsConfig, Error> {
    if args.url.as_ref().is_some_and(Url::is_unix) {
        check_unix(args)?;
    }
    Ok(ConnectionsConfig {
        count,
        idle: args.idle,
        fit: args.fit,
        sources: args.source.clone(),
        socket: SocketOptions {
            nodelay: !args.no_nodelay,
            rcvbuf: args.rcvbuf,
            sndbuf: args.sndbuf,
        },
        connect_speed: match (args.ramp, args.connect_rate) {
            (Some(ramp), _) => ConnectSpeed::Over(ramp),
            (None, rate) => ConnectSpeed::PerSecond(rate.unwrap_or(CONNECT_RATE)),
        },
        connects_in_flight_max: args.connect_concurrency,
        connect_timeout: args.connect_timeout,
        churn: churn(args),
    })
}

/// Refuses the options of TCP for a Unix socket.
fn check_unix(args: &RunArgs) -> Result<(), Error> {
    let usage = |line: String| Err(Error::new(Exit::Usage, line));
    if !args.source.is_empty() {
        return usage("--source is for TCP: a Unix socket has no source address".to_owned());
    }
    for (option, is_given) in [
        ("--rcvbuf", args.rcvbuf.is_some()),
        ("--sndbuf", args.sndbuf.is_some()),
        ("--no-nodelay", args.no_nodelay),
    ] {
        if is_given {
            return usage(format!("{option} is for TCP"));
        }
    }
    if args.close == CloseStyle::Rst {
        return usage("--close rst is for TCP: a Unix socket has no reset".to_owned());
    }
    Ok(())
}

fn churn(args: &RunArgs) -> Churn {
    let is_http = args.url.as_ref().is_some_and(|url| url.http_path().is_some());
    Churn {
        requests_per_conn: args.requests_per_conn,
        lifetime: args.conn_lifetime,
        close: args.close,
        reconnects: match args.reconnect {
            Some(style) => style == ReconnectStyle::Always,
            // HTTP servers may close a connection after any reply.
            None => args.requests_per_conn.is_some() || args.conn_lifetime.is_some() || is_http,
        },
    }
}
