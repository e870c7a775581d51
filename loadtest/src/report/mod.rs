//! The report: its model, which is data only, and one renderer per format.

pub(crate) mod csv;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod hgrm;
pub(crate) mod hlog;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod output_file;
#[cfg(test)]
pub(crate) mod schema;
pub(crate) mod text;
pub(crate) mod timeseries;
