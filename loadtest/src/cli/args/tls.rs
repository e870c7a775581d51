//! The arguments of TLS connections.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Accept any certificate, with any issuer and name
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Trust the certificate authorities in this PEM file, and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) cacert: Option<PathBuf>,
    /// Server name to send and to verify in the certificate (default: the URL's host)
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
}
