//! Figures for people: grouped digits, times and sizes with units, dates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number with groups of digits, such as `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A time given in microseconds, with three significant digits: `74.1 µs`, `1.92 ms`, `2.10 s`.
pub(crate) fn time_us(us: f64) -> String {
    match us {
        us if us < 0.9995 => format!("{:.0} ns", us * 1e3),
        us if us < 999.5 => format!("{} µs", three_digits(us)),
        us if us < 999_500.0 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} s", three_digits(us / 1e6)),
    }
}

/// Seconds for the length of a phase: `2.01 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{seconds:.2} s") } else { format!("{} s", three_digits(seconds)) }
}

/// A size in bytes with a unit, such as `91.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// The label of a power of two of a microsecond: `64µs`, `2.0ms`, `1.0s`.
pub(crate) fn bar_label(us: u64) -> String {
    let short = |value: f64, unit| match value {
        value if value < 9.95 => format!("{value:.1}{unit}"),
        value => format!("{value:.0}{unit}"),
    };
    match us {
        us if us < 1_000 => format!("{us}µs"),
        us if us < 1_000_000 => short(us as f64 / 1e3, "ms"),
        us => short(us as f64 / 1e6, "s"),
    }
}

/// The time in UTC, such as `2026-11-21T10:00:00Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (since / 86_400, since % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The time since 1970 in a text of [`utc`].
pub(crate) fn parse_utc(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator: char| -> Option<[u64; 3]> {
        let parts: Result<Vec<u64>, _> = text.split(separator).map(str::parse).collect();
        parts.ok()?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    // At most four digits each, so that an edited text cannot overflow.
    if [year, month, day, hour, minute, second].iter().any(|number| *number > 9_999) {
        return None;
    }
    // Years that begin in March, as in `civil_from_days`.
    let year = year.checked_sub(u64::from(month <= 2))?;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days =
        (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).checked_sub(719_468)?;
    Some(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

/// The Gregorian date of a day since 1970-01-01, counted in years that begin in March, so that the
/// leap day is the last day of a year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // from 0000-03-01
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A value in the unit of its gate.
pub(crate) fn value_text(value: f64, unit: &str) -> String {
    match unit {
        "us" => time_us(value),
        // Three digits would show 0.1004 % beside a limit of 0.1 % as the limit.
        "%" => {
            let digits = format!("{value:.5}");
            format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        unit => format!("{} {unit}", grouped(value.round() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: digits are grouped from the right.
    ///
    /// Method: numbers around each border.
    ///
    /// Kills: grouping from the left; a leading space.
    #[test]
    fn digits_are_grouped_from_the_right() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1 000"), (10_000, "10 000"), (1_234_567, "1 234 567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    /// Goal: times and sizes keep three digits and change unit without `1000 µs`.
    ///
    /// Method: values on both sides of every change.
    ///
    /// Kills: rounding after the unit is chosen.
    #[test]
    fn times_and_sizes_keep_three_digits() {
        for (us, text) in [
            (0.85, "850 ns"),
            (0.99999, "1.00 µs"),
            (74.12, "74.1 µs"),
            (99.96, "100 µs"),
            (999.6, "1.00 ms"),
            (1_924.0, "1.92 ms"),
            (999_600.0, "1.00 s"),
            (60_000_000.0, "60.0 s"),
        ] {
            assert_eq!(time_us(us), text);
        }
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(95_996_224), "91.5 MiB");
        assert_eq!(seconds(0.104), "0.10 s");
        assert_eq!(seconds(10.0), "10.0 s");
    }

    /// Goal: bar labels are short and unambiguous.
    ///
    /// Method: one of each unit.
    ///
    /// Kills: 1 024 µs printed as 1ms beside 1 048 576 µs printed as 1s with lost digits.
    #[test]
    fn bar_labels_are_unambiguous() {
        for (us, text) in
            [(1, "1µs"), (512, "512µs"), (1_024, "1.0ms"), (65_536, "66ms"), (1 << 21, "2.1s")]
        {
            assert_eq!(bar_label(us), text);
        }
    }

    /// Goal: dates are right, leap days included.
    ///
    /// Method: the epoch, a leap day, the day after one, and the example in the documentation.
    ///
    /// Kills: a month or a leap rule that is off by one.
    #[test]
    fn dates_are_gregorian_and_parse_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_795_255_200, "2026-11-21T10:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
            assert_eq!(parse_utc(text), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(parse_utc("18446744073709551615-01-01T00:00:00Z"), None);
        assert_eq!(parse_utc("2026-11-21T18446744073709551615:00:00Z"), None);
    }
}
