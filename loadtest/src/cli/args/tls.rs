//! How a target is trusted that speaks TLS.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Take any certificate, whoever made it and for whatever name
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Trust the certificate authorities in this PEM file, and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) cacert: Option<PathBuf>,
    /// The name to ask for, and to find in the certificate (default: the URL's host)
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
}
