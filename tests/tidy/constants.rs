//! The values of integer and duration constants, computed from the sources.
//!
//! Understood: literals, `+ - * <<`, parentheses, arrays, the constructors of `Duration`, names of
//! other constants of the sources, and [`KNOWN`]. Durations are counted in nanoseconds.

use super::source::Source;

/// Constants of other crates.
const KNOWN: &[(&str, u128)] = &[("libc::PIPE_BUF", 4096)];

/// The constructors of `Duration`, and their units in nanoseconds.
const DURATIONS: &[(&str, u128)] = &[
    ("Duration::from_secs", 1_000_000_000),
    ("Duration::from_millis", 1_000_000),
    ("Duration::from_micros", 1_000),
    ("Duration::from_nanos", 1),
];

/// One constant: a value, or the values of an array.
#[derive(Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) values: Vec<u128>,
    /// A `Duration`, or a number of nanoseconds by its name.
    pub(super) is_time: bool,
}

/// The constant `name` of one of `sources`, where names in its expression are looked up too.
pub(super) fn constant(name: &str, sources: &[&Source]) -> Option<Result<Constant, String>> {
    let source = sources.iter().find(|source| definition(&source.code, name).is_some())?;
    let (kind, expression) = definition(&source.code, name)?;
    let is_time = kind.contains("Duration") || name.ends_with("_NS");
    let mut parser = Parser { rest: expression, source, others: sources };
    let values = parser.values().and_then(|values| match parser.rest.trim() {
        "" => Ok(values),
        rest => Err(format!("{name}: `{rest}` is not understood")),
    });
    Some(values.map(|values| Constant { values, is_time }))
}

/// The type and the expression of a constant.
fn definition<'a>(code: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let start = format!("const {name}:");
    let (_, rest) = code.split_once(&start)?;
    let (kind, rest) = rest.split_once('=')?;
    Some((kind, &rest[..end_of_expression(rest)]))
}

fn end_of_expression(rest: &str) -> usize {
    rest.find(';').unwrap_or(rest.len())
}

struct Parser<'a> {
    rest: &'a str,
    /// Where a name is looked up first, and where then.
    source: &'a Source,
    others: &'a [&'a Source],
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        let rest = rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.take(token) {
            true => Ok(()),
            false => Err(format!("`{token}` expected before `{}`", self.rest)),
        }
    }

    fn values(&mut self) -> Result<Vec<u128>, String> {
        if !self.take("[") {
            return Ok(vec![self.shift()?]);
        }
        let mut values = Vec::new();
        while !self.take("]") {
            values.push(self.shift()?);
            self.take(",");
        }
        Ok(values)
    }

    fn shift(&mut self) -> Result<u128, String> {
        let mut value = self.sum()?;
        while self.take("<<") {
            value <<= self.sum()?;
        }
        Ok(value)
    }

    fn sum(&mut self) -> Result<u128, String> {
        let mut value = self.product()?;
        loop {
            if self.take("+") {
                value += self.product()?;
            } else if self.take("-") {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<u128, String> {
        let mut value = self.atom()?;
        while self.take("*") {
            value *= self.atom()?;
        }
        Ok(value)
    }

    fn atom(&mut self) -> Result<u128, String> {
        if self.take("(") {
            let value = self.shift()?;
            self.expect(")")?;
            return Ok(value);
        }
        self.rest = self.rest.trim_start();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let len = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.replace('_', "").parse().map_err(|_| format!("`{word}` is no number"));
        }
        if let Some((_, value)) = KNOWN.iter().find(|(name, _)| *name == word) {
            return Ok(*value);
        }
        if let Some((_, unit_ns)) = DURATIONS.iter().find(|(name, _)| *name == word) {
            self.expect("(")?;
            let value = self.shift()?;
            self.expect(")")?;
            return Ok(value * unit_ns);
        }
        self.other(word)
    }

    fn other(&self, word: &str) -> Result<u128, String> {
        let name = word.rsplit("::").next().expect("a part");
        let here = constant(name, &[self.source]);
        match here.or_else(|| constant(name, self.others)) {
            Some(constant) => match constant?.values[..] {
                [value] => Ok(value),
                _ => Err(format!("`{word}` is an array")),
            },
            None => Err(format!("`{word}` is not understood")),
        }
    }
}

/// Goal: the values that the table of bounds is compared with are the compiler's.
///
/// Method: one constant of each form, and one that is not understood.
///
/// Kills: a shift that binds tighter than a difference; a unit of `Duration` that is ignored.
#[test]
fn constants_have_their_values() {
    let code = "pub(crate) const A: u32 = (1 << 4) - 1;\nconst B: usize = 2 * A + 0;\n\
                const C_NS: u64 = 2_000 * NS_PER_MS;\nconst NS_PER_MS: u64 = 1_000_000;\n\
                const D: [Duration; 2] =\n [Duration::from_millis(1), Duration::from_secs(B)];\n\
                const E: usize = size_of::<u8>();\nconst F: usize = 1 << 4 - 1;\n";
    let source = Source { path: "src/a.rs".to_owned(), text: String::new(), code: code.to_owned() };
    let of = |name: &str| constant(name, &[&source]);
    let is = |values: &[u128], is_time| Some(Ok(Constant { values: values.to_vec(), is_time }));
    assert_eq!(of("A"), is(&[15], false));
    assert_eq!(of("B"), is(&[30], false));
    assert_eq!(of("C_NS"), is(&[2_000_000_000], true));
    assert_eq!(of("D"), is(&[1_000_000, 30_000_000_000], true));
    assert!(of("E").is_some_and(|value| value.is_err()));
    assert_eq!(of("F"), is(&[8], false));
    assert_eq!(of("G"), None);
}
