//! The machine and the target: `env` and `target` of the report.

use std::thread;

use crate::base::address::Address;
use crate::host::procfs;
use crate::protocol::ProtocolConfig;
use crate::report::model::{Env, EnvLimits, Target};
use crate::run::config::TargetConfig;
use crate::run::summary::generator::drivers;
use crate::run::summary::measurements::Measurements;

pub(super) fn environment(idle: u32, measured: &Measurements) -> Env {
    let drivers: Vec<String> = drivers(measured).iter().map(ToString::to_string).collect();
    let admission = &measured.admission;
    Env {
        kernel: procfs::kernel(),
        cpu: procfs::processor(),
        cores: thread::available_parallelism().ok().map(usize::from),
        driver: drivers.join(" and "),
        limits: EnvLimits {
            files_needed: admission.files_needed,
            files_limit: admission.files_limit,
            ports_needed: match measured.address {
                Address::Tcp(_) => u64::from(admission.connections) + u64::from(idle),
                Address::Unix(_) => 0,
            },
            ports_available: admission.ports_available,
        },
    }
}

pub(super) fn target(target: &TargetConfig, measured: &Measurements) -> Target {
    Target {
        url: measured.url.clone(),
        address: measured.address.to_string(),
        protocol: match (&target.protocol, &measured.address) {
            (ProtocolConfig::Echo(_), Address::Unix(_)) => "unix echo".into(),
            (protocol, _) if target.tls.is_some() => format!("{} over tls", protocol.name()),
            (protocol, _) => protocol.name().into(),
        },
        tls: measured.results.iter().find_map(|result| result.tls_suite.clone()),
        own_server: target.url.is_none(),
    }
}
