#!/usr/bin/env python3
"""Compares a report's latencies with what an independent HdrHistogram finds in its histograms.

    hdr-independent.py RUN.json RUN.hlog RUN.hgrm

Decodes the `hdr_v2` of each distribution in the JSON and the lines of the interval log, merged by tag,
with the Python package `hdrhistogram`. Both have to hold exactly the counts that the report claims, and
each percentile, the mean and the extremes have to be the report's. So do the rows of the percentile
text, which are checked against the counts: the package steps through them in another way. Exit code 1
and a line for each difference otherwise.
"""

import json
import math
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

# As in loadtest's `stats::new_histogram`, and thus in its blobs.
LOWEST_NS, HIGHEST_NS, DIGITS = 1, 60_000_000_000, 3

# Two roundings of one sum may differ in the last bits.
ROUNDING = 1e-9

problems = []
compared = 0


def check(is_right, line):
    global compared
    compared += 1
    if not is_right:
        problems.append(line)


def counts(histogram):
    """Every count, by the lowest value that belongs to it."""
    return {
        histogram.get_lowest_equivalent_value(item.value_iterated_to): item.count_added_in_this_iter_step
        for item in histogram.get_recorded_iterator()
    }


def close(a, b):
    return math.isclose(a, b, rel_tol=ROUNDING)


def compare(where, distribution, histogram):
    total = histogram.get_total_count()
    check(total == distribution["samples"], f"{where}: {total} samples, not {distribution['samples']}")
    for name, found_ns in (
        ("min", histogram.get_min_value()),
        ("mean", histogram.get_mean_value()),
        ("max", histogram.get_max_value()),
    ):
        check(close(distribution[name] * 1e3, found_ns),
              f"{where}: {name} {found_ns / 1e3} µs, not {distribution[name]}")
    cells = sorted(counts(histogram).items())
    for name, us in distribution["percentiles"].items():
        percentile = float(name.removeprefix("p"))
        rank = percentile * total / 100
        # The value at a percentile is that of the first cell at which so many samples are reached. Ranks
        # close to a whole number are rounded either way, so a neighbour's value is right as well.
        low, high = math.ceil(rank - 1e-6 - rank * ROUNDING), math.ceil(rank + 1e-6 + rank * ROUNDING)
        wanted, seen = set(), 0
        for value, count in cells:
            seen += count
            if any(seen - count < max(r, 1) <= seen for r in (low, high)):
                wanted.add(histogram.get_highest_equivalent_value(value))
        check(any(close(us * 1e3, value) for value in wanted),
              f"{where}: {name} is {[value / 1e3 for value in sorted(wanted)]} µs, not {us}")
        # The package rounds the rank to the nearest where the report rounds it up.
        if low == high == int(rank + 0.5):
            value = histogram.get_value_at_percentile(percentile)
            check(close(us * 1e3, value), f"{where}: {name} is {value / 1e3} µs, not {us}")


def merged_by_tag(path):
    reader = HistogramLogReader(path, HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS))
    by_tag = {}
    while (line := reader.get_next_interval_histogram()) is not None:
        total = by_tag.setdefault(line.get_tag(), HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS))
        total.add(line)
    reader.close()
    return by_tag


def rows(text):
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def compare_rows(text_rows, histogram):
    """Each row: the first value by which its share of all samples was seen, and how many that was."""
    check(text_rows[0] == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"], "text: its header")
    total, cells, seen = histogram.get_total_count(), [], 0
    for value, count in sorted(counts(histogram).items()):
        seen += count
        cells.append((histogram.get_highest_equivalent_value(value), seen - count, seen))
    by_value = {f"{value / 1e3:.3f}": (before, seen) for value, before, seen in cells}
    for value, quantile, count, *inverse in text_rows[1:]:
        before, seen = by_value.get(value, (0, 0))
        rank = float(quantile) * total
        check(seen == int(count) and before <= rank + 1e-6 * total and rank <= seen + 1e-6 * total,
              f"text: {value} µs at {quantile} with {count} samples; it has {before} to {seen} of {total}")
        check(bool(inverse) == (float(quantile) < 1), f"text: the inverse at {quantile}")
    check(len(text_rows) > 10, "text: hardly a row")
    check(text_rows[-1][1:] == ["1.000000000000", str(total)], f"text: its last row {text_rows[-1]}")


def main():
    report_path, log_path, text_path = sys.argv[1:]
    with open(report_path, encoding="utf-8") as file:
        report = json.load(file)
    logged = merged_by_tag(log_path)
    latencies = {kind: it for kind, it in report["latency_us"].items() if it is not None}
    check("service" in latencies, "the report has no service times: nothing to compare")
    decoded = {}
    for kind, distribution in latencies.items():
        decoded[kind] = HdrHistogram.decode(distribution["hdr_v2"])
        compare(f"JSON {kind}", distribution, decoded[kind])
        check(kind in logged, f"the log has no {kind}")
        if kind in logged:
            compare(f"log {kind}", distribution, logged[kind])
            check(counts(decoded[kind]) == counts(logged[kind]), f"{kind}: log and JSON differ")
    for interval in report["intervals"]:
        if interval["hdr_v2"] is not None:
            histogram = HdrHistogram.decode(interval["hdr_v2"])
            check(close(interval["max"] * 1e3, histogram.get_max_value()),
                  f"interval at {interval['t_s']} s: max")

    headline = "response" if "response" in latencies else "service"
    with open(text_path, encoding="utf-8") as file:
        compare_rows(rows(file.read()), decoded[headline])

    for line in problems:
        print(line)
    print(f"{compared} comparisons of {', '.join(latencies)}, {len(problems)} differences")
    sys.exit(1 if problems else 0)


main()
