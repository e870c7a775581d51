//! The options of the run: `config` of the report.

use crate::plan::load::{DispatchStyle, name_of};
use crate::protocol::ProtocolConfig;
use crate::report::model::settings::{Config, HttpSettings, TlsSettings, WsSettings};
use crate::report::model::{CLOSED_LOOP, OPEN_LOOP};
use crate::run::config::{ReportContent, RunConfig};
use crate::run::summary::measurements::Measurements;

pub(super) fn settings(
    config: &RunConfig,
    content: &ReportContent,
    measured: &Measurements,
) -> Config {
    let RunConfig { target, workers, connections, load, phases } = config;
    let admission = &measured.admission;
    let (connects, period) = connections.connect_speed.connects_in(admission.connections);
    let open = load.open_loop.as_ref();
    let message_sizes = target.protocol.message_sizes();
    Config {
        mode: if open.is_some() { OPEN_LOOP } else { CLOSED_LOOP }.into(),
        rate: open.map(ToString::to_string),
        arrivals: open.map(|open| name_of(open.arrivals)),
        dispatch: open.map(|open| name_of(open.dispatch)),
        spin_us: open
            .filter(|open| open.dispatch == DispatchStyle::Any)
            .map(|open| open.spin.as_secs_f64() * 1e6),
        pipeline: load.pipeline,
        seed: load.seed,
        interval_s: phases.interval.as_secs_f64(),
        requests_max: load.requests_max,
        think: load.think.map(|think| think.to_string()),
        requests_per_conn: connections.churn.requests_per_conn,
        conn_lifetime_s: connections.churn.lifetime.map(|lifetime| lifetime.as_secs_f64()),
        close: name_of(connections.churn.close),
        reconnect: if connections.churn.reconnects { "always" } else { "never" }.into(),
        idle: connections.idle,
        verify: load.verify,
        percentiles: content.percentiles.clone(),
        sources: measured.sources.clone(),
        cpus: workers.cpus.clone(),
        connections_asked: connections.count,
        connections: admission.connections,
        threads: workers.threads,
        message_bytes: message_sizes.1,
        message_bytes_min: (message_sizes.0 < message_sizes.1).then_some(message_sizes.0),
        http: http(&target.protocol),
        ws: ws(&target.protocol),
        tls: target
            .tls
            .as_ref()
            .map(|tls| TlsSettings { name: tls.name(), trust: tls.trust().to_string() }),
        duration_s: phases.duration.as_secs_f64(),
        warmup_s: phases.warmup.as_secs_f64(),
        drain_s: phases.drain.as_secs_f64(),
        deadline_s: load.deadline.map(|deadline| deadline.as_secs_f64()),
        connects_per_s: f64::from(connects) / period.as_secs_f64(),
        connects_in_flight_max: connections.connects_in_flight_max,
        connect_timeout_s: connections.connect_timeout.as_secs_f64(),
        timeout_s: load.reply_timeout.as_secs_f64(),
        nodelay: connections.socket.nodelay && !measured.address.is_unix(),
        rcvbuf_bytes: connections.socket.rcvbuf,
        sndbuf_bytes: connections.socket.sndbuf,
    }
}

fn http(protocol: &ProtocolConfig) -> Option<HttpSettings> {
    match protocol {
        ProtocolConfig::Http(exchange) => Some(HttpSettings {
            method: exchange.method().into(),
            fields: exchange.fields().iter().map(ToString::to_string).collect(),
            body_bytes: exchange.body_len(),
            expect_status: exchange.expected().to_string(),
            requests: exchange.requests().len() as u64,
        }),
        ProtocolConfig::Echo(_) | ProtocolConfig::Ws(..) => None,
    }
}

fn ws(protocol: &ProtocolConfig) -> Option<WsSettings> {
    match protocol {
        ProtocolConfig::Ws(_, upgrade) => Some(WsSettings {
            fields: upgrade.fields().iter().map(ToString::to_string).collect(),
            messages: if upgrade.is_text() { "text" } else { "binary" }.into(),
        }),
        ProtocolConfig::Echo(_) | ProtocolConfig::Http(_) => None,
    }
}
