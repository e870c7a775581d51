//! The options of the run: `config` of the report.

use crate::plan::load::{DispatchStyle, name_of};
use crate::protocol::ProtocolConfig;
use crate::report::model::settings::{Config, HttpSettings, TlsSettings, WsSettings};
use crate::report::model::{CLOSED_LOOP, OPEN_LOOP};
use crate::run::config::RunConfig;
use crate::run::summary::measurements::Measurements;

pub(super) fn settings(config: &RunConfig, measured: &Measurements) -> Config {
    let admission = &measured.admission;
    let (connects, period) = config.connect_speed.connects_in(admission.connections);
    let open = config.open_loop.as_ref();
    let message_sizes = config.protocol.message_sizes();
    Config {
        mode: if open.is_some() { OPEN_LOOP } else { CLOSED_LOOP }.into(),
        rate: open.map(ToString::to_string),
        arrivals: open.map(|open| name_of(open.arrivals)),
        dispatch: open.map(|open| name_of(open.dispatch)),
        spin_us: open
            .filter(|open| open.dispatch == DispatchStyle::Any)
            .map(|open| open.spin.as_secs_f64() * 1e6),
        pipeline: config.pipeline,
        seed: config.seed,
        interval_s: config.interval.as_secs_f64(),
        requests_max: config.requests_max,
        think: config.think.map(|think| think.to_string()),
        requests_per_conn: config.churn.requests_per_conn,
        conn_lifetime_s: config.churn.lifetime.map(|lifetime| lifetime.as_secs_f64()),
        close: name_of(config.churn.close),
        reconnect: if config.churn.reconnects { "always" } else { "never" }.into(),
        idle: config.idle,
        verify: config.verify,
        percentiles: config.content.percentiles.clone(),
        sources: measured.sources.clone(),
        cpus: config.cpus.clone(),
        connections_asked: config.connections,
        connections: admission.connections,
        threads: config.threads,
        message_bytes: message_sizes.1,
        message_bytes_min: (message_sizes.0 < message_sizes.1).then_some(message_sizes.0),
        http: match &config.protocol {
            ProtocolConfig::Http(exchange) => Some(HttpSettings {
                method: exchange.method().into(),
                fields: exchange.fields().iter().map(ToString::to_string).collect(),
                body_bytes: exchange.body_len(),
                expect_status: exchange.expected().to_string(),
                requests: exchange.requests().len() as u64,
            }),
            ProtocolConfig::Echo(_) | ProtocolConfig::Ws(..) => None,
        },
        ws: match &config.protocol {
            ProtocolConfig::Ws(_, upgrade) => Some(WsSettings {
                fields: upgrade.fields().iter().map(ToString::to_string).collect(),
                messages: if upgrade.is_text() { "text" } else { "binary" }.into(),
            }),
            ProtocolConfig::Echo(_) | ProtocolConfig::Http(_) => None,
        },
        tls: config
            .tls
            .as_ref()
            .map(|tls| TlsSettings { name: tls.name(), trust: tls.trust().to_string() }),
        duration_s: config.duration.as_secs_f64(),
        warmup_s: config.warmup.as_secs_f64(),
        drain_s: config.drain.as_secs_f64(),
        deadline_s: config.deadline.map(|deadline| deadline.as_secs_f64()),
        connects_per_s: f64::from(connects) / period.as_secs_f64(),
        connects_in_flight_max: config.connects_in_flight_max,
        connect_timeout_s: config.connect_timeout.as_secs_f64(),
        timeout_s: config.timeout.as_secs_f64(),
        nodelay: config.socket.nodelay && !measured.address.is_unix(),
        rcvbuf_bytes: config.socket.rcvbuf,
        sndbuf_bytes: config.socket.sndbuf,
    }
}
