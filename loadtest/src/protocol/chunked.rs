//! Chunked bodies of HTTP/1.1: finds the end of a body in pieces of any size. Used for requests to
//! `serve http` and for replies.
//!
//! ```text
//!  Size ──;──▶ Extension ──CR──▶ SizeEnd ──LF──▶ Data ──▶ DataCr ──CR──▶ DataLf ──LF──▶ Size
//!    └────────────CR───────────────▲   └─ size 0 ─▶ Trailer ──CR──▶ LastLf ──LF──▶ the end
//!                                                   │   ▲
//!                                                   ▼   LF
//!                                               TrailerLine ──CR──▶ TrailerLf
//! ```

/// The longest line of a size, and the length of all trailers together.
const LINES_LEN_MAX: usize = 16 << 10;

/// Why the end of a body cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Malformed,
    TooLarge,
}

/// Where in a chunked body the reader is.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: ChunkState,
    /// The size of the chunk, as far as it is known, and then the rest of its data.
    left: u64,
    /// Bytes of the line of the size, or of all trailers.
    line_len: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLine,
    TrailerLf,
    LastLf,
}

#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChunkProgress {
    /// All bytes are used, and the body goes on.
    Goes,
    /// The first `used` bytes are the end of the body.
    Ended { used: usize },
}

impl Chunked {
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> Result<ChunkProgress, Broken> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == ChunkState::Data {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= len as u64;
                at += len;
                if self.left == 0 {
                    self.state = ChunkState::DataCr;
                }
                continue;
            }
            let is_end = self.step(bytes[at])?;
            at += 1;
            if is_end {
                return Ok(ChunkProgress::Ended { used: at });
            }
        }
        Ok(ChunkProgress::Goes)
    }

    /// Takes one byte that is not data. Returns whether it is the last of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Broken> {
        self.line_len += 1;
        if self.line_len > LINES_LEN_MAX {
            return Err(Broken::TooLarge);
        }
        self.state = match (self.state, byte) {
            // A size has at least one digit.
            (ChunkState::Size, b'\r') if self.line_len > 1 => ChunkState::SizeEnd,
            (ChunkState::Size, b';' | b' ' | b'\t') if self.line_len > 1 => ChunkState::Extension,
            (ChunkState::Size, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Broken::Malformed)?;
                let shifted = self.left.checked_mul(16).ok_or(Broken::Malformed)?;
                self.left = shifted + u64::from(digit);
                ChunkState::Size
            }
            (ChunkState::Extension, b'\r') => ChunkState::SizeEnd,
            (ChunkState::Extension, byte) if byte != b'\n' => ChunkState::Extension,
            (ChunkState::SizeEnd, b'\n') => {
                self.line_len = 0;
                if self.left == 0 { ChunkState::Trailer } else { ChunkState::Data }
            }
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => {
                self.line_len = 0;
                ChunkState::Size
            }
            (ChunkState::Trailer, b'\r') => ChunkState::LastLf,
            (ChunkState::TrailerLine, b'\r') => ChunkState::TrailerLf,
            (ChunkState::Trailer | ChunkState::TrailerLine, byte) if byte != b'\n' => {
                ChunkState::TrailerLine
            }
            (ChunkState::TrailerLf, b'\n') => ChunkState::Trailer,
            (ChunkState::LastLf, b'\n') => return Ok(true),
            (
                ChunkState::Extension
                | ChunkState::SizeEnd
                | ChunkState::Data
                | ChunkState::DataCr
                | ChunkState::DataLf
                | ChunkState::Trailer
                | ChunkState::TrailerLine
                | ChunkState::TrailerLf
                | ChunkState::LastLf,
                _,
            ) => return Err(Broken::Malformed),
        };
        Ok(false)
    }
}
