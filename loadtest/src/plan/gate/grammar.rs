//! The language of gates, which is that of k6's thresholds with units.
//!
//! ```text
//! gate    = figure relation value
//! figure  = [ "response" | "service" | "connect" ] ( "min" | "avg" | "med" | "max" | "p(" N ")" )
//!         | "rate" | ( "errors" | "timeouts" ) ( "rate" | "count" ) | "served"
//! value   = a time | a count | a percentage | "connections", whichever the figure is
//! ```
//!
//! Every error quotes the wrong part and lists what is possible there.

use crate::base::units;
use crate::plan::gate::{Failed, Gate, GateFigure, GateLimit, Latency, Relation, Statistic};

const STATISTICS: &str = "min, avg, med, max or p(N)";

impl Gate {
    /// Parses an expression of the command line.
    ///
    /// # Errors
    ///
    /// The text is not a gate. The message quotes the wrong part.
    pub(crate) fn parse(text: &str) -> Result<Gate, String> {
        let text = text.trim();
        let Some(at) = text.find(['<', '>', '=', '!']) else {
            return Err("has no comparison, as in 'p(99)<5ms'".to_owned());
        };
        let (figure, rest) = text.split_at(at);
        let (relation, value) = relation(rest)?;
        let figure = self::figure(figure.trim())?;
        let limit = limit(figure, value.trim())?;
        Ok(Gate { text: text.to_owned(), figure, relation, limit })
    }
}

fn relation(text: &str) -> Result<(Relation, &str), String> {
    let signs_len = text.find(|c| !matches!(c, '<' | '>' | '=' | '!')).unwrap_or(text.len());
    let (signs, value) = text.split_at(signs_len);
    match Relation::ALL.iter().find(|(sign, _)| *sign == signs) {
        Some((_, relation)) => Ok((*relation, value)),
        None => Err(format!("'{signs}' is not a comparison: use <, <=, >, >=, == or !=")),
    }
}

fn figure(text: &str) -> Result<GateFigure, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [] => Err("has no figure before the comparison, as in 'p(99)<5ms'".to_owned()),
        ["rate"] => Ok(GateFigure::Rate),
        ["served"] => Ok(GateFigure::Served),
        ["errors", what] => failures("errors", Failed::Any, what),
        ["timeouts", what] => failures("timeouts", Failed::Timeouts, what),
        [name @ ("errors" | "timeouts")] => {
            Err(format!("'{name}' alone is not a figure: use '{name} rate' or '{name} count'"))
        }
        [name @ ("response" | "service" | "connect")] => {
            Err(format!("'{name}' alone is not a figure: add {STATISTICS}"))
        }
        ["response", what] => Ok(GateFigure::Latency(Latency::Response, statistic(what)?)),
        ["service", what] => Ok(GateFigure::Latency(Latency::Service, statistic(what)?)),
        ["connect", what] => Ok(GateFigure::Latency(Latency::Connect, statistic(what)?)),
        [what] => Ok(GateFigure::Latency(Latency::Main, statistic(what)?)),
        [first, _] => Err(format!(
            "'{first}' has no figures: use response, service, connect, errors or timeouts"
        )),
        [_, _, third, ..] => Err(format!("'{third}' is one word too many before the comparison")),
    }
}

fn failures(name: &str, failed: Failed, what: &str) -> Result<GateFigure, String> {
    match what {
        "rate" => Ok(GateFigure::Share(failed)),
        "count" => Ok(GateFigure::Count(failed)),
        _ => Err(format!("'{what}' is not a figure of {name}: use rate or count")),
    }
}

fn statistic(text: &str) -> Result<Statistic, String> {
    match text {
        "min" => return Ok(Statistic::Min),
        "avg" => return Ok(Statistic::Mean),
        "med" => return Ok(Statistic::Percentile(50.0)),
        "max" => return Ok(Statistic::Max),
        _ => {}
    }
    let unknown = || {
        let digits = text.strip_prefix('p').filter(|rest| units::decimal_number(rest).is_some());
        match digits {
            Some(digits) => format!("'{text}' is not a figure: did you mean p({digits})?"),
            None => format!(
                "'{text}' is not a figure: use {STATISTICS}, rate, errors rate, errors count or \
                 served"
            ),
        }
    };
    let percentile = text.strip_prefix("p(").ok_or_else(unknown)?;
    let Some(percentile) = percentile.strip_suffix(')') else {
        return Err(format!("'{text}' has no closing bracket at the end"));
    };
    match units::decimal_number(percentile) {
        Some(value) if value > 0.0 && value <= 100.0 => Ok(Statistic::Percentile(value)),
        _ => Err(format!("'{percentile}' is not a percentile: use a number above 0, up to 100")),
    }
}

fn limit(figure: GateFigure, text: &str) -> Result<GateLimit, String> {
    if text.is_empty() {
        return Err("has no value after the comparison".to_owned());
    }
    let quoted = |reason: String| format!("'{text}' {reason}");
    match (figure, text) {
        (GateFigure::Served, "connections") => Ok(GateLimit::Connections),
        (_, "connections") => Err(quoted("can only be compared with served".to_owned())),
        (GateFigure::Latency(..), _) => {
            let time =
                units::duration(text).map_err(|reason| match units::decimal_number(text) {
                    Some(_) => {
                        format!("'{text}' needs a unit: us, ms or s (did you mean {text}ms?)")
                    }
                    None => quoted(reason),
                })?;
            Ok(GateLimit::Value(time.as_nanos() as f64 / 1e3))
        }
        (GateFigure::Rate, _) => {
            let rate = text.strip_suffix("/s").unwrap_or(text);
            units::whole(rate).map(|rate| GateLimit::Value(rate as f64)).map_err(quoted)
        }
        (GateFigure::Count(_) | GateFigure::Served, _) => {
            units::whole(text).map(|count| GateLimit::Value(count as f64)).map_err(quoted)
        }
        (GateFigure::Share(_), _) => share(text).map(GateLimit::Value),
    }
}

/// Parses `0.1%`, or `0.001` as in k6.
fn share(text: &str) -> Result<f64, String> {
    let percent = match text.strip_suffix('%') {
        Some(percent) => units::decimal_number(percent.trim_end()),
        None => match units::decimal_number(text) {
            Some(fraction) if fraction > 1.0 => {
                return Err(format!("'{text}' is more than all: did you mean {text}%?"));
            }
            fraction => fraction.map(|fraction| fraction * 100.0),
        },
    };
    percent
        .filter(|percent| *percent <= 100.0)
        .ok_or_else(|| format!("'{text}' is not a share: use a percentage, as in 0.1%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (GateFigure, Relation, GateLimit) {
        let gate = Gate::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(gate.text, text.trim());
        (gate.figure, gate.relation, gate.limit)
    }

    /// Goal: every figure, relation and unit of the language is parsed.
    ///
    /// Method: a row for each, with and without spaces.
    ///
    /// Kills: `<=` read as `<`; milliseconds taken for microseconds; `med` as another percentile;
    /// a fraction taken for a percentage.
    #[test]
    fn figures_relations_and_units_are_parsed() {
        use Latency::{Connect, Main, Response, Service};
        use Statistic::{Max, Mean, Min, Percentile};
        let latency = |latency, statistic| GateFigure::Latency(latency, statistic);
        for (text, figure, relation, limit) in [
            ("p(99)<5ms", latency(Main, Percentile(99.0)), Relation::Less, 5_000.0),
            ("  p(99) < 5ms ", latency(Main, Percentile(99.0)), Relation::Less, 5_000.0),
            ("service p(99.9)<=2ms", latency(Service, Percentile(99.9)), Relation::AtMost, 2e3),
            ("response med!=1.5us", latency(Response, Percentile(50.0)), Relation::Other, 1.5),
            ("connect max<1s", latency(Connect, Max), Relation::Less, 1e6),
            ("min>0", latency(Main, Min), Relation::More, 0.0),
            ("service avg<1m", latency(Service, Mean), Relation::Less, 6e7),
            ("p(100)<1s", latency(Main, Percentile(100.0)), Relation::Less, 1e6),
            ("errors rate<0.1%", GateFigure::Share(Failed::Any), Relation::Less, 0.1),
            ("errors rate<0.25", GateFigure::Share(Failed::Any), Relation::Less, 25.0),
            ("timeouts count==0", GateFigure::Count(Failed::Timeouts), Relation::Equal, 0.0),
            ("timeouts rate<=1 %", GateFigure::Share(Failed::Timeouts), Relation::AtMost, 1.0),
            ("rate>=49k", GateFigure::Rate, Relation::AtLeast, 49_000.0),
            ("rate>=49k/s", GateFigure::Rate, Relation::AtLeast, 49_000.0),
            ("served>9", GateFigure::Served, Relation::More, 9.0),
        ] {
            assert_eq!(parsed(text), (figure, relation, GateLimit::Value(limit)), "{text}");
        }
        let all_served = (GateFigure::Served, Relation::Equal, GateLimit::Connections);
        assert_eq!(parsed("served==connections"), all_served);
    }

    /// Goal: a mistake is quoted, with what is possible in its place.
    ///
    /// Method: one row for each kind of mistake.
    ///
    /// Kills: a guess where the text has no meaning; an error that names another part.
    #[test]
    fn mistakes_are_quoted_with_what_is_possible() {
        for (text, wanted) in [
            ("", "has no comparison"),
            ("p(99)", "has no comparison"),
            ("<5ms", "no figure before"),
            ("p(99)<", "no value after"),
            ("p(99)=5ms", "'=' is not a comparison"),
            ("p(99)=<5ms", "'=<' is not a comparison"),
            ("p(99)<<5ms", "'<<' is not a comparison"),
            ("p(99)<5", "did you mean 5ms?"),
            ("p(99)<fast", "'fast' is not a time"),
            ("p(99)<5ms<6ms", "'5ms<6ms' is not a time"),
            ("p99<5ms", "did you mean p(99)?"),
            ("p(99<5ms", "closing bracket"),
            ("p(0)<5ms", "'0' is not a percentile"),
            ("p(101)<5ms", "'101' is not a percentile"),
            ("p(inf)<5ms", "'inf' is not a percentile"),
            ("p()<5ms", "'' is not a percentile"),
            ("median<5ms", "'median' is not a figure"),
            ("service<5ms", "'service' alone"),
            ("service rate<5ms", "'rate' is not a figure"),
            ("waiting p(99)<5ms", "'waiting' has no figures"),
            ("service very p(99)<5ms", "'p(99)' is one word too many"),
            ("errors<1%", "'errors' alone"),
            ("errors max<1%", "'max' is not a figure of errors"),
            ("errors rate<5", "did you mean 5%?"),
            ("errors rate<101%", "'101%' is not a share"),
            ("errors rate<-1%", "'-1%' is not a share"),
            ("errors count<1%", "'1%' is not a number"),
            ("rate>=fast", "'fast' is not a number"),
            ("rate>=5ms", "'5ms' is not a number"),
            ("rate==connections", "only be compared with served"),
            ("served==all", "'all' is not a number"),
        ] {
            let error = Gate::parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
