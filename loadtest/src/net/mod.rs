//! Connections to a target: addresses, sockets and TLS.

pub(crate) mod connect;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod tls_config;
