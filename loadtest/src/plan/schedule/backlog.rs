//! The backlog: messages of schedules that were not taken, and how long each has waited.
//!
//! A short backlog is taken message by message. For a long one, the number of messages is computed,
//! and they are spread evenly between the first one of each stream and the end. So the number of
//! steps is bounded by the buckets of the histogram and the number of streams, not by the length of
//! the backlog.

use std::time::Duration;

use crate::plan::schedule::arrivals::Arrivals;

/// The longest backlog that is taken message by message.
const WALKED_MAX: u64 = 100_000;

/// A backlog to take, in times of the schedules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// The first due time that counts. Messages before it are taken and not shown.
    pub(crate) from: Duration,
    /// The end of the due times that count, exclusive.
    pub(crate) until: Duration,
    /// The time up to which messages have waited.
    pub(crate) waited_until: Duration,
    /// The most messages to show, the oldest first.
    pub(crate) limit: u64,
}

/// Takes a backlog. `show` gets a wait in nanoseconds, and how many messages have waited so long.
///
/// Waits for which `bucket_of` returns the same number, the least of them, are shown together.
/// Returns the number of shown messages and the number of steps.
pub(crate) fn drain(
    streams: &mut [Arrivals],
    backlog: Backlog,
    bucket_of: impl Fn(u64) -> u64,
    show: impl FnMut(u64, u64),
) -> (u64, u64) {
    streams.iter_mut().for_each(|stream| stream.take_until(backlog.from));
    let counts: Vec<u64> = streams.iter().map(|stream| stream.left_before(backlog.until)).collect();
    match counts.iter().sum::<u64>() {
        0 => (0, 0),
        total if total <= WALKED_MAX => walk(streams, backlog, show),
        total => {
            let result = sweep(streams, &counts, total, backlog, bucket_of, show);
            streams.iter_mut().for_each(|stream| stream.take_until(backlog.until));
            result
        }
    }
}

fn walk(
    streams: &mut [Arrivals],
    Backlog { from: _, until, waited_until, limit }: Backlog,
    mut show: impl FnMut(u64, u64),
) -> (u64, u64) {
    let mut waits = Vec::new();
    for stream in streams {
        while let Some(due) = stream.peek().filter(|due| *due < until) {
            stream.pop();
            waits.push(waited_until.saturating_sub(due).as_nanos() as u64);
        }
    }
    let steps = waits.len() as u64;
    if limit < steps {
        waits.sort_unstable_by(|a, b| b.cmp(a));
        waits.truncate(limit as usize);
    }
    waits.iter().for_each(|wait_ns| show(*wait_ns, 1));
    (waits.len() as u64, steps)
}

/// The rest of a stream: evenly spread from `x` on, in arrivals of all streams.
struct Rest {
    x: f64,
    density: f64,
}

fn sweep(
    streams: &[Arrivals],
    counts: &[u64],
    total: u64,
    Backlog { from: _, until, waited_until, limit }: Backlog,
    bucket_of: impl Fn(u64) -> u64,
    mut show: impl FnMut(u64, u64),
) -> (u64, u64) {
    let curve = streams[0].curve();
    let x_until = curve.first_from(0, until) as f64;
    let left = streams.iter().zip(counts).filter(|(_, count)| **count > 0);
    let mut rests: Vec<Rest> = left
        .map(|(stream, count)| {
            let x = stream.x();
            Rest { x, density: *count as f64 / (x_until - x) }
        })
        .collect();
    rests.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut rests = rests.into_iter().peekable();

    let (mut x, mut density, mut sum) = (0.0, 0.0, 0.0);
    let (mut shown, most) = (0, total.min(limit));
    let mut steps = 0;
    while shown < most {
        steps += 1;
        let from = if density > 0.0 { x } else { rests.peek().expect("not all was shown").x };
        let due = curve.due(from).expect("it is before the end");
        let wait_ns = waited_until.saturating_sub(due).as_nanos() as u64;
        // Messages that are due later are in another bucket.
        let last_due = waited_until.saturating_sub(Duration::from_nanos(bucket_of(wait_ns)));
        let after = last_due + Duration::from_nanos(1);
        let x_next = (curve.first_from(from as u64, after) as f64).min(x_until).max(from);
        while let Some(rest) = rests.next_if(|rest| rest.x <= x_next) {
            steps += 1;
            sum += density * (rest.x - x);
            (x, density) = (rest.x, density + rest.density);
        }
        sum += density * (x_next - x);
        x = x_next;
        // Messages that rounding has lost are in the last bucket.
        let upto = if x >= x_until { most } else { (sum.round() as u64).clamp(shown, most) };
        if upto > shown {
            show(wait_ns, upto - shown);
        }
        shown = upto;
    }
    (most, steps)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::measure::stats;
    use crate::plan::schedule::arrivals::Spacing;
    use crate::plan::schedule::rate::RateCurve;

    const SECOND: Duration = Duration::from_secs(1);

    fn streams(curve: &Arc<RateCurve>, spacing: Spacing, count: u32) -> Vec<Arrivals> {
        (0..count).map(|number| Arrivals::new(Arc::clone(curve), spacing, number, count)).collect()
    }

    fn curves() -> [(&'static str, RateCurve); 4] {
        let rate = 1e9;
        [
            ("constant", RateCurve::new(rate, &[])),
            ("ramp", RateCurve::new(0.0, &[(10 * SECOND, rate)])),
            ("down", RateCurve::new(rate, &[(10 * SECOND, 0.0)])),
            ("stages", RateCurve::new(rate, &[(SECOND, 0.0), (3 * SECOND, 0.0), (SECOND, rate)])),
        ]
    }

    const KINDS: [Spacing; 2] = [Spacing::Constant, Spacing::Poisson { seed: 7 }];

    /// Goal: the number of steps does not grow with the backlog. It is at most the number of
    /// buckets and streams.
    ///
    /// Method: ten seconds of a thousand million messages per second, of every kind of schedule, in
    /// one stream and in a thousand. Steps are counted, and the shown messages add up to those due.
    ///
    /// Kills: a step for each message; messages lost or added by rounding; a kind that is taken
    /// message by message.
    #[test]
    fn steps_do_not_grow_with_the_backlog() {
        let histogram = stats::new_histogram();
        for ((name, curve), spacing) in
            curves().into_iter().flat_map(|curve| KINDS.map(|kind| (curve.clone(), kind)))
        {
            let curve = Arc::new(curve);
            for count in [1, 1_000] {
                let mut streams = streams(&curve, spacing, count);
                let until = 10 * SECOND;
                let wanted: u64 =
                    streams.iter().map(|stream| stream.count_between(SECOND, until)).sum();
                let backlog = Backlog { from: SECOND, until, waited_until: until, limit: u64::MAX };
                let mut sum = 0;
                let bucket_of = |wait_ns| histogram.lowest_equivalent(wait_ns);
                let (shown, steps) = drain(&mut streams, backlog, bucket_of, |_, n| sum += n);
                assert_eq!((shown, sum), (wanted, wanted), "{name} {spacing:?} {count}");
                assert!(wanted > 100_000_000, "{name}: {wanted}");
                assert!(steps < 50_000, "{name} {spacing:?} {count}: {steps} steps");
                assert!(streams.iter().all(|stream| stream.left_before(until) == 0));
            }
        }
    }

    /// Goal: the computed waits of a long backlog are those of its messages.
    ///
    /// Method: the same backlog of 200 000 messages computed and taken message by message, also
    /// after some streams have taken a part of it. The numbers of each bucket differ by chance
    /// only.
    ///
    /// Kills: waits from the wrong end; streams that are ahead counted from the beginning; a limit
    /// that keeps the newest.
    #[test]
    fn computed_waits_are_those_of_single_messages() {
        let ms = Duration::from_millis;
        for spacing in KINDS {
            let curve = Arc::new(RateCurve::new(50_000.0, &[(2 * SECOND, 150_000.0)]));
            let mut streams = streams(&curve, spacing, 10);
            streams[3].take_until(ms(1_500));
            streams[4].take_until(ms(700));
            for limit in [u64::MAX, 120_000] {
                let until = 2 * SECOND;
                let backlog = Backlog { from: ms(10), until, waited_until: 2 * until, limit };
                let decile = |wait_ns: u64| wait_ns / 100_000_000;
                let mut found = BTreeMap::<u64, u64>::new();
                let bucket_of = |wait_ns: u64| wait_ns / 1_000_000 * 1_000_000;
                let (count, _) = drain(&mut streams.clone(), backlog, bucket_of, |wait_ns, n| {
                    *found.entry(decile(wait_ns)).or_default() += n;
                });
                let mut wanted = BTreeMap::<u64, u64>::new();
                let (walked, _) = walk(
                    &mut streams
                        .clone()
                        .into_iter()
                        .map(|mut stream| {
                            stream.take_until(ms(10));
                            stream
                        })
                        .collect::<Vec<_>>(),
                    backlog,
                    |wait_ns, n| *wanted.entry(decile(wait_ns)).or_default() += n,
                );
                assert!(count > 100_000 && count == walked, "{count}, {walked}");
                for (wait, n) in &wanted {
                    let swept = found.get(wait).copied().unwrap_or_default();
                    let margin = 5.0 * (*n as f64).sqrt() + 200.0;
                    let off = (swept as f64 - *n as f64).abs();
                    assert!(off < margin, "{spacing:?} {limit} {wait}: {swept} for {n}");
                }
            }
        }
    }
}
