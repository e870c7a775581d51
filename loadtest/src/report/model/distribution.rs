//! Figures of a histogram.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::measure::stats::{self, PERCENTILES};

/// The figures of a histogram; `None` if it is empty. They include the default percentiles and
/// those in `requested`.
pub(crate) fn distribution(
    histogram: &Histogram<u64>,
    censored: u64,
    requested: &[f64],
) -> Option<Distribution> {
    if histogram.is_empty() {
        return None;
    }
    let samples = histogram.len();
    let bars = stats::bars(histogram).into_iter().map(|bar| BarRow {
        over_us: bar.over_us,
        up_to_us: bar.up_to_us,
        count: bar.count,
        percent: bar.count as f64 * 100.0 / samples as f64,
    });
    Some(Distribution {
        samples,
        censored,
        min: us(histogram.min()),
        mean: histogram.mean() / 1e3,
        max: us(histogram.max()),
        percentiles: PERCENTILES
            .iter()
            .chain(requested)
            .map(|&p| (percentile_name(p), us(histogram.value_at_percentile(p))))
            .collect(),
        bars: bars.collect(),
        ci: std::collections::BTreeMap::new(),
        hdr_v2: hdr_v2(histogram),
    })
}

impl Distribution {
    /// The histogram, or `None` if the encoded text is not one.
    pub(crate) fn histogram(&self) -> Option<Histogram<u64>> {
        decode(&self.hdr_v2)
    }
}

/// The name of a percentile in a report, such as `p99.9`.
pub(crate) fn percentile_name(percentile: f64) -> String {
    format!("p{percentile}")
}

pub(crate) fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// Encodes a histogram as HdrHistogram V2, deflated, in base64: the format of its log files, which
/// its other implementations read.
pub(crate) fn hdr_v2(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes every byte, and these bounds can be encoded");
    STANDARD.encode(bytes)
}

/// The inverse of [`hdr_v2`].
pub(crate) fn decode(hdr_v2: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(hdr_v2).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Distribution {
    pub(crate) samples: u64,
    /// Of these, waits that the generator ended: their true value is larger.
    pub(crate) censored: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
    /// By name: `p50`, `p99.9`.
    pub(crate) percentiles: BTreeMap<String, f64>,
    pub(crate) bars: Vec<BarRow>,
    /// 95 % confidence intervals by name of the percentile, if the run is long enough.
    pub(crate) ci: BTreeMap<String, [f64; 2]>,
    /// The whole histogram of nanoseconds: HdrHistogram V2, deflated, in base64.
    pub(crate) hdr_v2: String,
}

impl Distribution {
    /// The requested percentiles with their names, in the requested order.
    pub(crate) fn shown(&self, percentiles: &[f64]) -> Vec<(String, f64)> {
        let named = percentiles.iter().filter_map(|&percentile| {
            let name = percentile_name(percentile);
            let us = *self.percentiles.get(&name)?;
            Some((name, us))
        });
        named.collect()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct BarRow {
    pub(crate) over_us: u64,
    /// `null` in the last row of a chart with a long tail.
    pub(crate) up_to_us: Option<u64>,
    pub(crate) count: u64,
    pub(crate) percent: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the encoded text contains every count of the histogram.
    ///
    /// Method: decode it and compare the histograms; decode broken texts.
    ///
    /// Kills: encoding another histogram, microseconds, or V2 without its compression; a panic at
    /// an edited report.
    #[test]
    fn the_blob_is_the_histogram() {
        let mut histogram = stats::new_histogram();
        for ns in [1, 999, 70_000, 70_001, 60_000_000_000] {
            histogram.saturating_record(ns);
        }
        let mut distribution = distribution(&histogram, 0, &[]).unwrap();
        let bytes = STANDARD.decode(&distribution.hdr_v2).unwrap();
        assert_eq!(bytes[..4], [0x1c, 0x84, 0x93, 0x14], "the cookie of a deflated V2");
        assert_eq!(distribution.histogram(), Some(histogram));
        for bad in ["", "=", "HISTFA", "aGVsbG8gd29ybGQsIGhlbGxvIHdvcmxk"] {
            bad.clone_into(&mut distribution.hdr_v2);
            assert_eq!(distribution.histogram(), None);
        }
    }
}
