//! Result of the doctor.

use serde::Serialize;

use crate::base::driver::DriverUsed;
use crate::doctor::killed::KilledServer;
use crate::doctor::machine::Machine;
use crate::report::model::tool::Tool;

/// Result of the doctor. The field names are those of the JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Checkup {
    pub(crate) schema_version: u32,
    pub(crate) tool: Tool,
    pub(crate) connections: u32,
    pub(crate) driver: DriverFound,
    pub(crate) limits: LimitsFound,
    pub(crate) machine: Machine,
    /// `None` if no driver works.
    pub(crate) killed_server: Option<KilledServer>,
    pub(crate) target: Option<TargetFound>,
    /// Reasons why a run is not possible.
    pub(crate) problems: Vec<String>,
    /// Improvements that a run does not depend on.
    pub(crate) advice: Vec<String>,
    pub(crate) exit_code: u8,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct DriverFound {
    /// The driver of a run; without one, `error` has the reason.
    pub(crate) used: Option<DriverUsed>,
    pub(crate) error: Option<String>,
    pub(crate) candidates: Vec<CandidateFound>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CandidateFound {
    pub(crate) kind: String,
    pub(crate) works: bool,
    pub(crate) untried: Option<String>,
    pub(crate) failure: Option<String>,
    pub(crate) steps: Vec<StepFound>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct StepFound {
    pub(crate) name: String,
    /// `works`, `present`, `absent` or `failed`.
    pub(crate) outcome: &'static str,
    pub(crate) error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LimitsFound {
    /// The soft limit before this program raised it to the hard limit, as a run does.
    pub(crate) files_soft: u64,
    pub(crate) files_hard: u64,
    pub(crate) files_needed: u64,
    pub(crate) ports: Option<(u16, u16)>,
    /// For each source address.
    pub(crate) ports_available: Option<u64>,
    pub(crate) ports_needed: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct TargetFound {
    pub(crate) url: String,
    pub(crate) address: Option<String>,
    pub(crate) connect_us: Option<f64>,
    pub(crate) error: Option<String>,
}
