//! The expected statuses (`--expect-status`).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A list of statuses and classes, such as `200,404,5xx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    pub(crate) fn contain(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl Default for Statuses {
    fn default() -> Statuses {
        Statuses(vec![200..=299])
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Statuses, String> {
        let range = |part: &str| {
            let bad =
                || format!("'{part}' is not a status: use 200, 5xx or a list like 200,404,5xx");
            let (digits, len) = match part.strip_suffix("xx") {
                Some(class) => (class, 100),
                None => (part, 1),
            };
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number: u16 = digits.parse().ok().filter(|_| is_number).ok_or_else(bad)?;
            let first = number.checked_mul(len).ok_or_else(bad)?;
            if !(100..=599).contains(&first) {
                return Err(bad());
            }
            Ok(first..=first + (len - 1))
        };
        text.split(',').map(|part| range(part.trim())).collect::<Result<_, _>>().map(Statuses)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match range.end() - range.start() {
                0 => write!(f, "{comma}{}", range.start())?,
                _ => write!(f, "{comma}{}xx", range.start() / 100)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a list has the statuses that it names, and is printed as it was written.
    ///
    /// Method: the first and last statuses of numbers and classes; texts that are no list.
    ///
    /// Kills: a class that ends early or late; a sign; an empty part; 20xx for 2000 to 2099.
    #[test]
    fn a_list_has_the_statuses_that_it_names() {
        let list: Statuses = "200,404, 5xx".parse().unwrap();
        assert_eq!(list.to_string(), "200,404,5xx");
        for (status, wanted) in
            [(199, false), (200, true), (201, false), (404, true), (499, false), (500, true)]
        {
            assert_eq!(list.contain(status), wanted, "{status}");
        }
        assert!(list.contain(599) && !list.contain(600));
        assert_eq!(Statuses::default().to_string(), "2xx");
        assert_eq!("2xx".parse(), Ok(Statuses::default()));
        for bad in ["", "200,", "+20", "99", "600", "6xx", "20xx", "xx", "2x", "99999", "ok"] {
            assert!(bad.parse::<Statuses>().is_err(), "{bad}");
        }
    }
}
