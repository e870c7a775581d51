//! The load of a run: closed or open loop, its rate over time, and pauses.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use crate::base::figures::grouped;
use crate::base::units;
use crate::plan::schedule::arrivals::{Arrivals, Spacing};
use crate::plan::schedule::rate::RateCurve;

/// Messages per second over all connections (`--rate`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    Constant(f64),
    /// Linear from the first to the second, over the measured window.
    Ramp(f64, f64),
}

/// A list of times and rates (`--stages`). The rate is linear to each one over its time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stages(pub(crate) Vec<(Duration, f64)>);

impl Stages {
    pub(crate) fn length(&self) -> Duration {
        self.0.iter().map(|(length, _)| *length).sum()
    }
}

/// The options of an open loop.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenLoop {
    pub(crate) rate: Option<Rate>,
    pub(crate) stages: Option<Stages>,
    pub(crate) arrivals: ArrivalsStyle,
    pub(crate) dispatch: DispatchStyle,
    pub(crate) spin: Duration,
    pub(crate) seed: u64,
}

impl OpenLoop {
    /// The schedule. During the warm-up the rate is that of the beginning of the measured window.
    pub(crate) fn load(&self, warmup: Duration, duration: Duration) -> OpenLoad {
        let start = match self.rate {
            Some(Rate::Constant(rate) | Rate::Ramp(rate, _)) => rate,
            None => 0.0,
        };
        let mut stages = vec![(warmup, start)];
        match (&self.stages, self.rate) {
            (Some(more), _) => stages.extend(&more.0),
            (None, Some(Rate::Ramp(_, end))) => stages.push((duration, end)),
            (None, _) => {}
        }
        OpenLoad {
            spin: self.spin,
            curve: Arc::new(RateCurve::new(start, &stages)),
            spacing: match self.arrivals {
                ArrivalsStyle::Constant => Spacing::Constant,
                ArrivalsStyle::Poisson => Spacing::Poisson { seed: self.seed },
            },
            rule: match self.dispatch {
                DispatchStyle::Any => DispatchRule::Any,
                DispatchStyle::PerConn => DispatchRule::PerConn,
            },
        }
    }
}

/// The form of the report: `50 000/s`, `from 10/s to 500/s`, `stages 10s:100 1m:500`.
impl fmt::Display for OpenLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(Rate::Constant(rate)) => write!(f, "{}/s", rate_text(rate))?,
            Some(Rate::Ramp(from, to)) => {
                write!(f, "from {}/s to {}/s", rate_text(from), rate_text(to))?;
            }
            None => {}
        }
        if let Some(Stages(stages)) = &self.stages {
            f.write_str(if self.rate.is_some() { " then stages" } else { "stages" })?;
            for (length, rate) in stages {
                write!(f, " {length:?}:{}", rate_text(*rate))?;
            }
        }
        Ok(())
    }
}

fn rate_text(rate: f64) -> String {
    if rate.fract() == 0.0 { grouped(rate as u64) } else { rate.to_string() }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let rate = match text.split_once(':') {
            None => Rate::Constant(units::rate(text)?),
            Some((from, to)) => Rate::Ramp(units::rate(from)?, units::rate(to)?),
        };
        match rate {
            Rate::Constant(0.0) | Rate::Ramp(0.0, 0.0) => Err("must be more than 0".to_owned()),
            rate => Ok(rate),
        }
    }
}

impl FromStr for Stages {
    type Err = String;

    fn from_str(text: &str) -> Result<Stages, String> {
        let stage = |part: &str| {
            let (length, rate) = part
                .split_once(':')
                .ok_or_else(|| format!("'{part}' is not TIME:RATE, as in 30s:1k"))?;
            Ok((units::duration(length)?, units::rate(rate)?))
        };
        let stages: Vec<(Duration, f64)> =
            text.split(',').map(stage).collect::<Result<_, String>>()?;
        let stages = Stages(stages);
        if stages.length().is_zero() || stages.0.iter().all(|(_, rate)| *rate == 0.0) {
            return Err("needs a stage with a length and a rate of more than 0".to_owned());
        }
        if stages.length() > units::DURATION_MAX {
            return Err("is too long, at most 1000h".to_owned());
        }
        Ok(stages)
    }
}

/// How long connections last, and whether others replace them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Churn {
    /// The number of messages after which a connection is closed.
    pub(crate) requests_per_conn: Option<u64>,
    /// The time after which a connection is closed, when no message is outstanding.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) close: CloseStyle,
    /// Whether a connection is opened again after it was closed or has failed.
    pub(crate) reconnects: bool,
}

/// The options of each socket. `None` is the default of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketOptions {
    pub(crate) nodelay: bool,
    pub(crate) rcvbuf: Option<u32>,
    pub(crate) sndbuf: Option<u32>,
}

/// The pause between a reply and the next message (`--think`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Think {
    Fixed(Duration),
    Between(Duration, Duration),
    /// Random with this mean.
    Exponential(Duration),
}

impl Think {
    /// One pause.
    pub(crate) fn draw(self, random: &mut fastrand::Rng) -> Duration {
        match self {
            Think::Fixed(pause) => pause,
            Think::Between(low, high) => low + (high - low).mul_f64(random.f64()),
            // Uniform in (0, 1], so that the logarithm is finite.
            Think::Exponential(mean) => mean.mul_f64(-(1.0 - random.f64()).ln()),
        }
    }
}

impl FromStr for Think {
    type Err = String;

    fn from_str(text: &str) -> Result<Think, String> {
        if let Some(mean) = text.strip_prefix("exp:") {
            return Ok(Think::Exponential(units::duration(mean)?));
        }
        match text.split_once("..") {
            None => Ok(Think::Fixed(units::duration(text)?)),
            Some((low, high)) => {
                let (low, high) = (units::duration(low)?, units::duration(high)?);
                if low > high {
                    return Err(format!("{low:?} is more than {high:?}"));
                }
                Ok(Think::Between(low, high))
            }
        }
    }
}

impl fmt::Display for Think {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Think::Fixed(pause) => write!(f, "{pause:?}"),
            Think::Between(low, high) => write!(f, "{low:?}..{high:?}"),
            Think::Exponential(mean) => write!(f, "exp:{mean:?}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsStyle {
    /// Evenly
    Constant,
    /// At random, independent of each other
    Poisson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DispatchStyle {
    /// Any that has a place for it
    Any,
    /// Message k goes to connection k mod N, and waits for it
    PerConn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CloseStyle {
    /// In order
    Fin,
    /// By a reset, which leaves no port in TIME_WAIT
    Rst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReconnectStyle {
    Always,
    Never,
}

/// The name of a value on the command line.
pub(crate) fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().expect("none is skipped").get_name().to_owned()
}

/// When messages are sent.
#[derive(Clone, Debug)]
pub(crate) enum LoadPlan {
    /// Each as soon as a connection has room.
    Closed,
    /// Each when it is due, or as soon after that as a connection has room.
    Open(OpenLoad),
}

#[derive(Clone, Debug)]
pub(crate) struct OpenLoad {
    pub(crate) curve: Arc<RateCurve>,
    pub(crate) spacing: Spacing,
    pub(crate) rule: DispatchRule,
    /// How long the worker stays awake before a message is due, with [`DispatchRule::Any`].
    pub(crate) spin: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DispatchRule {
    /// A message is sent by any connection with room.
    Any,
    /// Message k is sent by connection k mod N.
    PerConn,
}

impl OpenLoad {
    /// The schedules of a worker: one, or one for each of its connections. `connections` is the
    /// number of its connections, `total` that of all workers.
    pub(crate) fn streams(
        &self,
        worker: u32,
        threads: u32,
        connections: u32,
        total: u32,
    ) -> Vec<Arrivals> {
        let stream =
            |stream, streams| Arrivals::new(Arc::clone(&self.curve), self.spacing, stream, streams);
        match self.rule {
            DispatchRule::Any => vec![stream(worker, threads)],
            // Numbered like the connects: connection i of worker w is number i·t + w.
            DispatchRule::PerConn => {
                (0..connections).map(|index| stream(index * threads + worker, total)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: rates, stages and pauses are parsed, and mistakes are refused.
    ///
    /// Method: a table of valid texts with their values, and of invalid ones.
    ///
    /// Kills: a ramp from 0 refused; a rate of 0 accepted; stages without a length.
    #[test]
    fn rates_stages_and_pauses_are_parsed() {
        let s = Duration::from_secs;
        assert_eq!("50k".parse(), Ok(Rate::Constant(50_000.0)));
        assert_eq!("0.5".parse(), Ok(Rate::Constant(0.5)));
        assert_eq!("0:1k".parse(), Ok(Rate::Ramp(0.0, 1_000.0)));
        for bad in ["0", "0:0", "", ":", "1:", "-1", "1:2:3", "1e3"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad} was accepted");
        }
        let stages = Stages(vec![(s(10), 100.0), (s(0), 500.0), (s(60), 500.0)]);
        assert_eq!("10s:100,0:500,1m:500".parse(), Ok(stages.clone()));
        assert_eq!(stages.length(), s(70));
        for bad in ["", "10s", "10:100", "0:100", "10s:0", "10s:100,", "600h:1,600h:1"] {
            assert!(bad.parse::<Stages>().is_err(), "{bad} was accepted");
        }
        assert_eq!("1s".parse(), Ok(Think::Fixed(s(1))));
        assert_eq!("1s..2s".parse(), Ok(Think::Between(s(1), s(2))));
        assert_eq!("exp:1s".parse(), Ok(Think::Exponential(s(1))));
        for bad in ["", "1", "2s..1s", "exp:", "exp:1", "1s.."] {
            assert!(bad.parse::<Think>().is_err(), "{bad} was accepted");
        }
    }

    /// Goal: pauses have the distribution of the option.
    ///
    /// Method: ten thousand draws of each kind, with a fixed seed: bounds and mean.
    ///
    /// Kills: always the lower bound; an exponential with another mean.
    #[test]
    fn pauses_have_their_bounds_and_mean() {
        let ms = Duration::from_millis;
        let mut random = fastrand::Rng::with_seed(1);
        let mut mean_ms = |think: Think| {
            let draws: Vec<Duration> = (0..10_000).map(|_| think.draw(&mut random)).collect();
            if let Think::Between(low, high) = think {
                assert!(draws.iter().all(|pause| (low..=high).contains(pause)));
            }
            draws.iter().sum::<Duration>().as_secs_f64() * 1e3 / draws.len() as f64
        };
        assert_eq!(mean_ms(Think::Fixed(ms(7))), 7.0);
        assert!((mean_ms(Think::Between(ms(10), ms(20))) - 15.0).abs() < 0.2);
        assert!((mean_ms(Think::Exponential(ms(10))) - 10.0).abs() < 0.5);
    }

    /// Goal: the schedule covers the warm-up with the rate that the window begins with.
    ///
    /// Method: due times of each kind of rate, after a warm-up of one second and a window of two.
    ///
    /// Kills: a ramp that begins in the warm-up; stages that ignore the rate given with them.
    #[test]
    fn the_warm_up_is_scheduled() {
        let s = Duration::from_secs;
        let due = |rate: Option<&str>, stages: Option<&str>, x: f64| {
            let open = OpenLoop {
                rate: rate.map(|text| text.parse().unwrap()),
                stages: stages.map(|text| text.parse().unwrap()),
                arrivals: ArrivalsStyle::Constant,
                dispatch: DispatchStyle::Any,
                spin: Duration::ZERO,
                seed: 1,
            };
            open.load(s(1), s(2)).curve.due(x).unwrap().as_secs_f64()
        };
        assert_eq!(due(Some("100"), None, 150.0), 1.5);
        assert_eq!(due(Some("100:300"), None, 100.0), 1.0);
        assert_eq!(due(Some("100:300"), None, 500.0), 3.0);
        assert_eq!(due(None, Some("2s:100"), 0.0), 1.0);
        assert_eq!(due(None, Some("2s:100"), 100.0), 3.0);
        assert_eq!(due(Some("50"), Some("2s:50"), 150.0), 3.0);
    }
}
