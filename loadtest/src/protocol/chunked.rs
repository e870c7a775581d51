//! A chunked body of HTTP/1.1, skipped: sizes, data, trailers, whatever pieces they come in. Of
//! requests to `serve http` and of replies to the HTTP that `protocol` speaks.
//!
//! ```text
//!  Size ──;──▶ Extension ──CR──▶ SizeEnd ──LF──▶ Data ──▶ DataCr ──CR──▶ DataLf ──LF──▶ Size
//!    └────────────CR───────────────▲   └─ size 0 ─▶ Trailer ──CR──▶ LastLf ──LF──▶ the end
//!                                                   │   ▲
//!                                                   ▼   LF
//!                                               TrailerLine ──CR──▶ TrailerLf
//! ```

/// The longest line of a size, and all trailers together.
const LINES_LEN_MAX: usize = 16 << 10;

/// Why the rest of a body cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Malformed,
    TooLarge,
}

/// Where in a chunked body the reader is.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    /// The size of the chunk, as far as it is known; then what is left of its data.
    left: u64,
    /// Bytes of the line of the size, or of all trailers: what is neither data nor bounded by it.
    line_len: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
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
pub(crate) enum Progress {
    /// All bytes are used and the body goes on.
    Goes,
    /// The body's last byte was the one before `used`.
    Ended { used: usize },
}

impl Chunked {
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> Result<Progress, Broken> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= len as u64;
                at += len;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let is_end = self.step(bytes[at])?;
            at += 1;
            if is_end {
                return Ok(Progress::Ended { used: at });
            }
        }
        Ok(Progress::Goes)
    }

    /// Takes one byte that is not data. True if it was the body's last.
    fn step(&mut self, byte: u8) -> Result<bool, Broken> {
        self.line_len += 1;
        if self.line_len > LINES_LEN_MAX {
            return Err(Broken::TooLarge);
        }
        self.state = match (self.state, byte) {
            // A size has a digit.
            (State::Size, b'\r') if self.line_len > 1 => State::SizeEnd,
            (State::Size, b';' | b' ' | b'\t') if self.line_len > 1 => State::Extension,
            (State::Size, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Broken::Malformed)?;
                let shifted = self.left.checked_mul(16).ok_or(Broken::Malformed)?;
                self.left = shifted + u64::from(digit);
                State::Size
            }
            (State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, byte) if byte != b'\n' => State::Extension,
            (State::SizeEnd, b'\n') => {
                self.line_len = 0;
                if self.left == 0 { State::Trailer } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line_len = 0;
                State::Size
            }
            (State::Trailer, b'\r') => State::LastLf,
            (State::TrailerLine, b'\r') => State::TrailerLf,
            (State::Trailer | State::TrailerLine, byte) if byte != b'\n' => State::TrailerLine,
            (State::TrailerLf, b'\n') => State::Trailer,
            (State::LastLf, b'\n') => return Ok(true),
            (
                State::Extension
                | State::SizeEnd
                | State::Data
                | State::DataCr
                | State::DataLf
                | State::Trailer
                | State::TrailerLine
                | State::TrailerLf
                | State::LastLf,
                _,
            ) => return Err(Broken::Malformed),
        };
        Ok(false)
    }
}
