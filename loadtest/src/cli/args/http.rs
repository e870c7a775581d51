//! The arguments of HTTP requests.

use clap::Args;

use crate::protocol::http::exchange::{Field, Method};
use crate::protocol::http::statuses::Statuses;

#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// Method of the request (default GET, or POST with a body)
    #[arg(short = 'X', long)]
    pub(crate) method: Option<Method>,
    /// Header 'Name: value' of the request, or of the WebSocket handshake (may be given several
    /// times)
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(crate) fields: Vec<Field>,
    /// Body of the request: a text, or @FILE
    #[arg(short, long, value_name = "TEXT|@FILE")]
    pub(crate) body: Option<String>,
    /// Request the paths in this file in turn, one per line; each worker begins with the first
    #[arg(long, value_name = "FILE")]
    pub(crate) urls: Option<String>,
    /// Expected statuses; a reply with another one is an error (default 2xx)
    #[arg(long, value_name = "200,404,5xx")]
    pub(crate) expect_status: Option<Statuses>,
}
