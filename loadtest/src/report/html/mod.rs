//! The report as one HTML file.
//!
//! The file is self-contained: it loads no script, font or picture. Charts are inline SVG, and
//! colours follow the reader's scheme. The file is also well-formed XML, which a test checks.
//!
//! **Invariant.** A figure is read from the report's JSON by its JSON pointer ([`Page::figure`]),
//! and the file keeps the pointer beside it. So the shown figures can be compared with the embedded
//! report. Only curves are drawn from histograms.

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

/// Renders the page of one run, or of several runs with a comparison first.
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
         <title>loadtest: {}</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n",
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
