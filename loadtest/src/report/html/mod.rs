//! The report as one HTML file: for reading, for keeping, for printing.
//!
//! The file needs nothing but itself: no script, no font, no picture from elsewhere; charts are inline
//! SVG and colours follow the reader's scheme. It is well-formed XML as well, which a test checks.
//!
//! **Invariant.** A figure is read from the report's JSON by its place there ([`Page::figure`]) and
//! keeps that place in the file, so that what is shown and what is embedded can be compared, by a test
//! or by anybody. Only curves are drawn from histograms.

pub(crate) mod connections;
pub(crate) mod errors;
pub(crate) mod heatmap;
pub(crate) mod latency;
pub(crate) mod overview;
pub(crate) mod resources;
pub(crate) mod series;
pub(crate) mod svg;
pub(crate) mod tables;

use crate::report::html::page::{Page, escape};
use crate::report::model::Report;

/// One document for a run; for several, a comparison and then each.
pub(crate) fn render(reports: &[Report]) -> String {
    let pages: Vec<Page<'_>> = reports.iter().map(Page::new).collect();
    let title = match &pages[..] {
        [page] => page.title(),
        pages => format!("{} runs", pages.len()),
    };
    let body: String = match &pages[..] {
        [page] => run(page),
        pages => {
            let runs: Vec<String> =
                pages.iter().map(|page| format!("<article>\n{}</article>\n", run(page))).collect();
            format!("{}{}", overview::several(pages), runs.concat())
        }
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>loadtest: {}</title>\n<style>\n{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(&title),
        include_str!("style.css"),
    )
}

fn run(page: &Page<'_>) -> String {
    [
        overview::strip(page),
        latency::panel(page),
        series::panel(page),
        heatmap::panel(page),
        connections::panel(page),
        errors::panel(page),
        resources::panel(page),
        tables::panel(page),
    ]
    .concat()
}

pub(crate) mod page;
#[cfg(test)]
pub(crate) mod tests;

/// Renders the page of one run.
pub(crate) fn render_one(report: &Report) -> String {
    render(std::slice::from_ref(report))
}
