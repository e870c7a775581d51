//! What `loadtest compare` and `loadtest ab` print: comparisons with one base, for people and programs.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::analysis::compare::comparison::compare;
use crate::analysis::compare::regression::{RegressionLimit, breaches};
use crate::base::exit::Exit;
use crate::report::model::comparison::Comparison;
use crate::report::model::{Report, SCHEMA_VERSION, Tool};
use crate::report::text::comparison;

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComparisonFormat {
    /// A table for people
    Text,
    /// The same for programs
    Json,
}

/// What `loadtest compare` and `loadtest ab` print.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Compared {
    schema_version: u32,
    tool: Tool,
    /// The file, or the command of the server.
    base: String,
    /// In the order in which they were named.
    compared: Vec<WithBase>,
    interrupted: bool,
    exit_code: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct WithBase {
    /// The file, or the command of the server.
    new: String,
    comparison: Comparison,
    /// A line for each limit of `--max-regression` that was not kept.
    breaches: Vec<String>,
}

impl Compared {
    /// Compares with a base; both have names.
    pub(crate) fn of(
        (base_name, base): (String, &Report),
        new: &[(String, &Report)],
        limits: &[RegressionLimit],
    ) -> Compared {
        let with_base = |(name, report): &(String, &Report)| {
            let comparison = compare(base, report);
            let breaches = breaches(&comparison, limits);
            WithBase { new: name.clone(), comparison, breaches }
        };
        let compared: Vec<WithBase> = new.iter().map(with_base).collect();
        let is_kept = compared.iter().all(|one| one.breaches.is_empty());
        Compared {
            schema_version: SCHEMA_VERSION,
            tool: Tool::this(),
            base: base_name,
            compared,
            interrupted: false,
            exit_code: if is_kept { Exit::Ok } else { Exit::Breached }.code(),
        }
    }

    /// More runs were to come, and no limit is judged by those that there were.
    pub(crate) fn interrupt(&mut self, exit: Exit) {
        self.interrupted = true;
        self.exit_code = exit.code();
        self.compared.iter_mut().for_each(|one| one.breaches.clear());
    }

    /// What to print, and the exit code.
    pub(crate) fn print(&self, format: ComparisonFormat) -> (String, Exit) {
        let text = match format {
            ComparisonFormat::Text => {
                let mut sections: Vec<String> =
                    self.compared.iter().map(|one| self.text(one)).collect();
                if self.interrupted {
                    sections.push(format!("interrupted (exit {})\n", self.exit_code));
                }
                sections.join("\n")
            }
            ComparisonFormat::Json => {
                serde_json::to_string_pretty(self).expect("all keys are strings") + "\n"
            }
        };
        (text, Exit::of_code(self.exit_code).expect("it was made of one"))
    }

    fn text(&self, one: &WithBase) -> String {
        let mut text = comparison::render(&one.comparison, &[self.base.clone(), one.new.clone()]);
        if !one.breaches.is_empty() {
            text += &format!("\n{}", comparison::breaches_text(&one.breaches));
        }
        text
    }
}
