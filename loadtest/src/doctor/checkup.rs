//! Everything that the doctor found. The field names are the JSON's.

use serde::Serialize;

use crate::base::driver::DriverUsed;
use crate::doctor::killed::KilledServer;
use crate::doctor::machine::Machine;
use crate::report::model::tool::Tool;

/// Everything that was found. The field names are the JSON's.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Checkup {
    pub(crate) schema_version: u32,
    pub(crate) tool: Tool,
    pub(crate) connections: u32,
    pub(crate) driver: DriverFound,
    pub(crate) limits: LimitsFound,
    pub(crate) machine: Machine,
    /// `None` where no driver works.
    pub(crate) killed_server: Option<KilledServer>,
    pub(crate) target: Option<TargetFound>,
    /// What stands in the way of a run.
    pub(crate) problems: Vec<String>,
    /// What does not, and could be better.
    pub(crate) advice: Vec<String>,
    pub(crate) exit_code: u8,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct DriverFound {
    /// What a run would use, or else why there is none.
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
    /// Before this program raised it to the hard limit, as a run does.
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
