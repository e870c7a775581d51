//! `serve sink`.

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::json;

use super::{DRIVERS, Target, pattern};

/// Goal: the sink receives everything, sends nothing, and counts every byte.
///
/// Method: a little more than a megabyte over two connections, on both drivers; then the end of the
/// stream, to which the sink replies with its own end.
///
/// Kills: a byte sent back; a sink that stops reading; a last piece that is not counted.
#[test]
fn the_sink_receives_everything() {
    for driver in DRIVERS {
        let target = Target::start(&["sink", "--size", "1000", "--driver", driver]);
        for len in [1_000_000, 999] {
            let mut stream = target.connect();
            stream.write_all(&pattern(len)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).unwrap();
            assert_eq!(reply, b"");
        }
        let wanted = json!({
            "kind": "sink", "connections": 2, "messages": 1_000, "bad_requests": 0,
            "bytes_in": 1_000_999, "bytes_out": 0, "faults": {},
        });
        assert_eq!(target.stop(), wanted, "{driver}");
    }
}
