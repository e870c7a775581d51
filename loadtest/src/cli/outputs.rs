//! Outputs of a report: the options that name files, and the files, opened before the run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::base::exit::{Error, Exit};
use crate::measure::stats::PERCENTILES;
use crate::report::model::Report;
use crate::report::output_file::OutputFile;
use crate::report::{csv, hgrm, hlog, html, json, text, timeseries};
use crate::run::config::ReportContent;

/// Format of a report on stdout or in the `--output` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Summary for people
    Text,
    /// Whole report
    Json,
    /// Two lines: the names of the main figures, and their values
    Csv,
    /// Nothing
    Quiet,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Format of the report on stdout
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) format: OutputFormat,
    /// Print to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the report as JSON to this file (`-` for stdout)
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write an HdrHistogram interval log
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
    /// Write the percentiles as text, for HdrHistogram plotters
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write one line per interval, as JSON or CSV by the file's extension
    #[arg(long, value_name = "FILE.ndjson|FILE.csv")]
    pub(crate) timeseries: Option<PathBuf>,
    /// Write a self-contained HTML page with charts
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write all formats, named `run.*`, into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,
}

/// Name and labels of a report, and the percentiles in its summary.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ContentArgs {
    /// Percentiles in the summary
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = percentile)]
    #[arg(default_values_t = PERCENTILES)]
    pub(crate) percentiles: Vec<f64>,
    /// Name of the run, stored in the report
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Further information to store in the report (may be given several times)
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
}

impl ContentArgs {
    /// The content of the report. Of labels with the same key the last one wins, as with options.
    pub(crate) fn checked(self) -> ReportContent {
        let ContentArgs { percentiles, name, label } = self;
        ReportContent { percentiles, name, labels: label.into_iter().collect() }
    }
}

impl OutputArgs {
    pub(crate) fn json_on_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Every requested file with the function that renders its content.
    fn files(&self) -> Result<Vec<(Render, PathBuf)>, Error> {
        let mut files = Vec::new();
        let mut add = |path: &Option<PathBuf>, render: Render| {
            files.extend(path.iter().map(|path| (render, path.clone())));
        };
        if !self.json_on_stdout() {
            add(&self.json, json::render);
        }
        add(&self.html, html::render_one);
        add(&self.hlog, hlog::render);
        add(&self.hgrm, hgrm::render);
        if let Some(path) = &self.timeseries {
            add(&self.timeseries, by_extension(path)?);
        }
        for (name, render) in IN_DIRECTORY {
            add(&self.out_dir.as_ref().map(|directory| directory.join(name)), *render);
        }
        let mut seen = BTreeSet::new();
        if let Some((_, twice)) = files.iter().find(|(_, path)| !seen.insert(path.clone())) {
            let line = format!("two outputs use the same file: {}", twice.display());
            return Err(Error::new(Exit::Usage, line));
        }
        Ok(files)
    }

    /// Refuses contradicting options before any file is opened.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.files().map(|_| ())
    }
}

impl OutputArgs {
    /// Refuses every output of several reports except the HTML page.
    pub(crate) fn check_several(&self) -> Result<(), Error> {
        let only_html = self.html.is_some() && self.files()?.len() == 1;
        if only_html
            && self.format == OutputFormat::Text
            && self.output.is_none()
            && self.json.is_none()
        {
            return Ok(());
        }
        Err(Error::new(Exit::Usage, "several reports can only be written to one --html FILE"))
    }
}

impl OutputArgs {
    /// Refuses outputs of an interval log that need more than its histograms.
    pub(crate) fn check_log(&self) -> Result<(), Error> {
        let others = [&self.json, &self.html, &self.hlog, &self.timeseries, &self.out_dir];
        if self.format == OutputFormat::Text && others.iter().all(|other| other.is_none()) {
            return Ok(());
        }
        let line = "an interval log has histograms only: print it as text, or write --hgrm FILE";
        Err(Error::new(Exit::Usage, line))
    }

    /// Opens the output files of an interval log: of its table and of its percentiles.
    pub(crate) fn open_log(&self) -> Result<(Option<OutputFile>, Option<OutputFile>), Error> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(OutputFile::open).transpose();
        Ok((open(&self.output)?, open(&self.hgrm)?))
    }
}

pub(crate) type Render = fn(&Report) -> String;

/// The files that `--out-dir` writes.
const IN_DIRECTORY: &[(&str, Render)] = &[
    ("run.txt", text::render),
    ("run.json", json::render),
    ("run.csv", csv::render),
    ("run.html", html::render_one),
    ("run.hlog", hlog::render),
    ("run.hgrm", hgrm::render),
    ("run.ndjson", timeseries::ndjson),
];

fn by_extension(path: &Path) -> Result<Render, Error> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ndjson") => Ok(timeseries::ndjson),
        Some("csv") => Ok(timeseries::csv),
        _ => {
            let line = format!("--timeseries {}: must end in .ndjson or .csv", path.display());
            Err(Error::new(Exit::Usage, line))
        }
    }
}

/// The open output files of a run.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) files: Vec<(Render, OutputFile)>,
    /// The `--output` file, which replaces stdout.
    pub(crate) instead_of_stdout: Option<OutputFile>,
}

impl Outputs {
    /// Opens every file, so that an unwritable one fails before the run begins.
    pub(crate) fn open(args: &OutputArgs) -> Result<Outputs, Error> {
        if let Some(directory) = &args.out_dir {
            fs::create_dir_all(directory).map_err(|error| OutputFile::failed(directory, &error))?;
        }
        let instead_of_stdout = args.output.as_deref().map(OutputFile::open).transpose()?;
        let files = args.files()?.into_iter();
        let files = files.map(|(render, path)| Ok((render, OutputFile::open(&path)?)));
        Ok(Outputs { files: files.collect::<Result<_, Error>>()?, instead_of_stdout })
    }

    /// Writes the page of several runs, the only open file.
    pub(crate) fn compare(self, reports: &[Report]) -> Result<(), Error> {
        let page = html::render(reports);
        self.files.into_iter().try_for_each(|(_, file)| file.write(&page))
    }
}

fn percentile(text: &str) -> Result<f64, String> {
    match text.trim().trim_start_matches('p').parse::<f64>() {
        Ok(percentile) if percentile > 0.0 && percentile <= 100.0 => Ok(percentile),
        _ => {
            Err("is not a percentile: use numbers above 0 and up to 100, as in 50,99.9".to_owned())
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("is not a label: use key=value".to_owned()),
    }
}
