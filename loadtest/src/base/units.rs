//! Parsers of numbers, sizes and times: `10k`, `1.5m`, `64KiB`, `250us`, `2m`.
//!
//! The functions are clap value parsers: their errors become the line of a usage error.

use std::time::Duration;

/// The longest time that an option accepts. It prevents overflow in sums of an instant and options.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(1_000 * 3_600);

/// The longest wait for a single reply, and the upper bound of the latency histograms.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// A count of at least one: `10000`, `10k`, `1.5k`, `1m`.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    let value = scaled(text, &[("k", 1_000), ("m", 1_000_000)])?;
    match u32::try_from(value) {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(value) => Ok(value),
        Err(_) => Err(format!("is too large, at most {}", u32::MAX)),
    }
}

/// Number of worker threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    Count(u32),
    /// One per available processor.
    Auto,
}

pub(crate) fn threads(text: &str) -> Result<Threads, String> {
    if text == "auto" { Ok(Threads::Auto) } else { count(text).map(Threads::Count) }
}

/// A count that may be zero.
pub(crate) fn count_or_none(text: &str) -> Result<u32, String> {
    if text == "0" { Ok(0) } else { count(text) }
}

/// Processors, as `0`, `2-5` or `0,2-3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<u32>);

pub(crate) fn cpus(text: &str) -> Result<Cpus, String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(cpu) if cpu < CPUS_MAX && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(cpu),
        _ => Err(format!("'{text}' is not the number of a processor")),
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{first} comes after {last}"));
        }
        cpus.extend(first..=last);
    }
    Ok(Cpus(cpus))
}

/// A number of requests of at least one: [`count`] with 64 bits.
pub(crate) fn requests(text: &str) -> Result<u64, String> {
    match scaled(text, &[("k", 1_000), ("m", 1_000_000)])? {
        0 => Err("must be at least 1".to_owned()),
        value => Ok(value),
    }
}

/// Messages in flight on a connection: 1 to 65 535.
pub(crate) fn pipeline(text: &str) -> Result<u32, String> {
    match count(text)? {
        value if value > u32::from(u16::MAX) => Err("is too large, at most 65535".to_owned()),
        value => Ok(value),
    }
}

/// A rate per second, which may be zero and have up to three decimals: `50k`, `0.5`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    // A thousand million per second is one per nanosecond, the unit of every schedule.
    const RATE_MAX: u64 = 1_000_000_000;
    let thousandths = scaled(text, &[("k", 1_000_000), ("m", 1_000_000_000), ("", 1_000)])?;
    if thousandths > RATE_MAX * 1_000 {
        return Err("is too large, at most 1000m".to_owned());
    }
    Ok(thousandths as f64 / 1e3)
}

/// The largest message size in bytes.
pub(crate) const SIZE_MAX: u32 = 16 << 20;

/// A size in bytes of at least one: `64`, `4k` (4 000), `4KiB` (4 096).
pub(crate) fn size(text: &str) -> Result<u32, String> {
    let units = [("kib", 1 << 10), ("mib", 1 << 20), ("k", 1_000), ("m", 1_000_000)];
    match scaled(text, &units)? {
        0 => Err("must be at least 1 byte".to_owned()),
        value if value > u64::from(SIZE_MAX) => Err("is too large, at most 16MiB".to_owned()),
        value => Ok(u32::try_from(value).expect("bounded above")),
    }
}

/// Inclusive range of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// A size, or a range of them: `64`, `64..4KiB`.
pub(crate) fn sizes(text: &str) -> Result<Sizes, String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    match (size(min)?, size(max)?) {
        (min, max) if min > max => Err(format!("{min} is more than {max}")),
        (min, max) => Ok(Sizes { min, max }),
    }
}

/// A time that may be zero: `0`, `250us`, `1.5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let digits_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_len);
    let unit_ns: u64 = match unit {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "" if !number.is_empty() => {
            return Err(format!("needs a unit: us, ms, s, m or h (did you mean {number}s?)"));
        }
        _ => return Err("is not a time: use a number and us, ms, s, m or h, as in 10s".to_owned()),
    };
    let value_ns = decimal(number, unit_ns)
        .ok_or_else(|| "is not a time: use a number and us, ms, s, m or h, as in 10s".to_owned())?;
    let value = Duration::from_nanos(u64::try_from(value_ns).unwrap_or(u64::MAX));
    if value > DURATION_MAX {
        return Err("is too long, at most 1000h".to_owned());
    }
    Ok(value)
}

/// A time that may not be zero.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        value => Ok(value),
    }
}

/// A wait for one reply: more than zero, and within the range of the histograms.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    match span(text)? {
        value if value > TIMEOUT_MAX => Err("is too long, at most 60s".to_owned()),
        value => Ok(value),
    }
}

/// A number of at least zero: `0`, `49k`, `1.5m`.
pub(crate) fn whole(text: &str) -> Result<u64, String> {
    scaled(text, &[("k", 1_000), ("m", 1_000_000)])
}

/// A plain decimal number, `99.9`, without sign or exponent.
pub(crate) fn decimal_number(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?, *factor)))
        .unwrap_or((&lower, 1));
    let value = decimal(number, factor)
        .ok_or_else(|| "is not a number: use digits and k or m, as in 10k".to_owned())?;
    u64::try_from(value).map_err(|_| "is too large".to_owned())
}

/// `text` times `factor`, in exact decimal arithmetic. `None` unless `text` is a plain decimal
/// number and the product is whole. Floating point would turn `1.1k` into 1 100.0000000000001.
fn decimal(text: &str, factor: u64) -> Option<u128> {
    const DIGITS_MAX: usize = 15;
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if whole.len() > DIGITS_MAX || fraction.len() > DIGITS_MAX {
        return None;
    }
    let denominator = 10u128.pow(fraction.len() as u32);
    let numerator = format!("{whole}{fraction}").parse::<u128>().ok()? * u128::from(factor);
    (numerator % denominator == 0).then_some(numerator / denominator)
}

/// Number of processors that `host::sys::pin_thread` can address.
pub(crate) const CPUS_MAX: u32 = libc::CPU_SETSIZE as u32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: counts accept `k` and `m`, exactly, and nothing else.
    ///
    /// Method: a table of good and bad spellings.
    ///
    /// Kills: `k` as 1 024; floating point; accepting zero, signs, spaces or a lone suffix.
    #[test]
    fn counts_accept_k_and_m_only() {
        assert_eq!(count("1"), Ok(1));
        assert_eq!(count("10k"), Ok(10_000));
        assert_eq!(count("10K"), Ok(10_000));
        assert_eq!(count("1.1k"), Ok(1_100));
        assert_eq!(count("2m"), Ok(2_000_000));
        assert_eq!(requests("5000m"), Ok(5_000_000_000));
        assert!(requests("0").is_err());
        for bad in ["", "0", "k", "-1", "+1", "1.2345k", "1 0", "ten", "1.", ".5k", "9999m", "1kk"]
        {
            assert!(count(bad).is_err(), "{bad} was accepted");
        }
    }

    /// Goal: numbers that may be zero or have a fraction accept no other spelling.
    ///
    /// Method: a table.
    ///
    /// Kills: refusing zero; what Rust's parser of floats accepts beyond digits.
    #[test]
    fn numbers_accept_plain_digits_only() {
        assert_eq!(whole("0"), Ok(0));
        assert_eq!(whole("49k"), Ok(49_000));
        assert!(whole("-1").is_err());
        assert_eq!(decimal_number("99.9"), Some(99.9));
        for bad in ["", ".", "1.2.3", ".5", "+1", "-1", "1e3", "inf", "nan", "0x1", "1 "] {
            assert_eq!(decimal_number(bad), None, "{bad}");
        }
    }

    /// Goal: lists of processors have the syntax of the kernel's tools.
    ///
    /// Method: a table.
    ///
    /// Kills: a range without its end; a number that no set of processors can hold.
    #[test]
    fn processors_have_the_syntax_of_cpu_lists() {
        assert_eq!(cpus("1"), Ok(Cpus(vec![1])));
        assert_eq!(cpus("0,2-4,2"), Ok(Cpus(vec![0, 2, 3, 4, 2])));
        for bad in ["", "a", "3-1", "1,", "-1", "+1", "1024", "1-2-3"] {
            assert!(cpus(bad).is_err(), "{bad} was accepted");
        }
    }

    /// Goal: rates are exact, may be zero or a fraction, and have a bound.
    ///
    /// Method: a table.
    ///
    /// Kills: `k` as a thousandth; rounding to whole messages per second.
    #[test]
    fn rates_are_exact_and_bounded() {
        assert_eq!(rate("0"), Ok(0.0));
        assert_eq!(rate("0.125"), Ok(0.125));
        assert_eq!(rate("50k"), Ok(50_000.0));
        assert_eq!(rate("1.5m"), Ok(1_500_000.0));
        for bad in ["", "0.0001", "1001m", "-1", "k"] {
            assert!(rate(bad).is_err(), "{bad} was accepted");
        }
    }

    /// Goal: sizes accept decimal and binary suffixes and have a bound.
    ///
    /// Method: a table.
    ///
    /// Kills: `k` matching before `kib`; a bound that is off by one.
    #[test]
    fn sizes_accept_both_kinds_of_suffixes() {
        assert_eq!(size("64"), Ok(64));
        assert_eq!(size("4k"), Ok(4_000));
        assert_eq!(size("4KiB"), Ok(4_096));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert!(size("16777217").is_err());
        assert!(size("0").is_err());
    }

    /// Goal: times need a unit, are exact, and have a bound.
    ///
    /// Method: a table, and the text of the most likely mistake.
    ///
    /// Kills: reading `m` as milli; a bare number taken as seconds; overflow on absurd input.
    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("1.5ms"), Ok(Duration::from_micros(1_500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        assert!(duration("10").unwrap_err().contains("did you mean 10s?"));
        for bad in ["", "s", "-1s", "1sec", "1 s", "1..5s", "1001h", "999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad} was accepted");
        }
        assert!(span("0s").is_err());
        assert_eq!(timeout("60s"), Ok(TIMEOUT_MAX));
        assert!(timeout("61s").is_err());
    }
}
