use serde_json::Value;

use super::*;
use crate::report::fixture;
use crate::report::model::interval::Interval;

/// Parses the page as XML, which finds elements that are not closed and texts that are not escaped.
fn parsed(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(page, options)
        .unwrap_or_else(|error| panic!("not well-formed: {error}"))
}

/// The reports embedded in a page, in order.
fn embedded(document: &roxmltree::Document<'_>) -> Vec<Value> {
    let scripts = document.descendants().filter(|node| node.has_tag_name("script"));
    scripts.map(|node| serde_json::from_str(node.text().unwrap()).unwrap()).collect()
}

fn pages() -> [String; 3] {
    let (open, closed) = (fixture::open_loop(), fixture::closed_loop());
    [render_one(&open), render_one(&closed), render(&[open, closed])]
}

/// Goal: the file is self-contained and executes no code.
///
/// Method: check every element and attribute of a page of each kind: no script except data, no
/// handler, no address that a browser would fetch. The style sheet names no resource.
///
/// Kills: a font or a picture by address; a script; an `onclick`.
#[test]
fn the_page_needs_nothing_else() {
    for page in pages() {
        let document = parsed(&page);
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name();
            let foreign = ["link", "img", "iframe", "object", "embed", "base", "use", "image", "a"];
            assert!(!foreign.contains(&name), "<{name}>");
            if name == "script" {
                assert_eq!(node.attribute("type"), Some("application/json"));
            }
            for attribute in node.attributes() {
                let name = attribute.name();
                assert!(!name.starts_with("on"), "{name}");
                assert!(!["src", "href", "style", "srcset", "action"].contains(&name), "{name}");
            }
            if name == "style" {
                let style = node.text().unwrap();
                assert!(!style.contains("url(") && !style.contains("@import"), "{style}");
            }
        }
        let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_namespace.contains("http://") && !without_namespace.contains("https://"));
    }
}

/// Goal: the page of a run that ended early shows the reason.
///
/// Method: an interrupted run, one that a gate ended (with a special character of HTML in its
/// expression), and a complete one.
///
/// Kills: the figures of a partial run shown as those of a complete one.
#[test]
fn the_reason_of_an_early_end_is_shown() {
    let alerts = |change: fn(&mut Report)| -> Vec<String> {
        let mut report = fixture::open_loop();
        report.notes.clear();
        change(&mut report);
        let page = render_one(&report);
        let document = parsed(&page);
        let alerts = document.descendants().filter(|node| node.attribute("class") == Some("alert"));
        alerts.map(|node| node.text().unwrap().to_owned()).collect()
    };
    let whole = alerts(|_| ());
    let interrupted = alerts(|report| report.interrupted = true);
    assert_eq!(interrupted.len(), whole.len() + 1);
    assert!(interrupted[0].starts_with("The run was interrupted: "), "{interrupted:?}");
    let aborted = alerts(|report| {
        let expr = "errors rate<1%".to_owned();
        let unit = "%".to_owned();
        report.aborted =
            Some(crate::report::model::early_end::Aborted { expr, value: 12.0, unit, at_s: 3.0 });
    });
    assert_eq!(aborted.len(), whole.len() + 1);
    assert_eq!(aborted[0], "aborted after 3.00 s: errors rate<1% does not hold: 12 %");
}

/// Goal: foreign texts cannot become markup, and are shown unchanged.
///
/// Method: the fixture's name, label, target, note and command contain all special characters of
/// HTML. The test finds them in the text of the parsed page, and compares the embedded report with
/// the original.
///
/// Kills: a text that is not escaped, or escaped twice; a `</script>` in a name that ends the data.
#[test]
fn text_of_others_stays_text() {
    let mut report = fixture::open_loop();
    report.labels.insert("end".to_owned(), "</script><b>]]>".to_owned());
    report.notes.push("bell \u{7} and null \0".to_owned());
    let page = render_one(&report);
    let document = parsed(&page);
    let text: String = document
        .descendants()
        .filter(roxmltree::Node::is_text)
        .filter_map(|it| it.text())
        .collect();
    for expected in [
        "a<b>&\"c\", 'd'",
        "build=x<y&z",
        "end=</script><b>]]>",
        "tcp://127.0.0.1:7000/<&\"'>",
        "a note with <b>&amp;</b>",
        "loadtest -R 100 --name 'it'\\''s <b>'",
        "p(99)<1ms",
    ] {
        assert!(text.contains(expected), "no '{expected}'");
    }
    assert_eq!(embedded(&document), [serde_json::to_value(&report).unwrap()]);
}

/// Goal: the shown figures are those of the JSON.
///
/// Method: every marked figure has the value at its pointer in the embedded report; the main
/// figures are present; some are compared in their printed form.
///
/// Kills: a figure in the wrong row; a pointer to a missing value; a missing figure.
#[test]
fn figures_are_those_of_the_json() {
    for (page, kind) in pages().iter().zip(["response", "service", "response"]) {
        let document = parsed(page);
        let reports = embedded(&document);
        let mut places = Vec::new();
        for node in document.descendants().filter(|node| node.has_tag_name("data")) {
            let place = node.attribute("data-json").unwrap();
            let value: Value = serde_json::from_str(node.attribute("value").unwrap()).unwrap();
            let found: Vec<&Value> =
                reports.iter().filter_map(|report| report.pointer(place)).collect();
            assert!(found.contains(&&value), "{place}: {value}, the report has {found:?}");
            assert!(node.text().is_some_and(|text| !text.contains("NaN")), "{place}");
            places.push(place);
        }
        for name in ["percentiles/p50", "percentiles/p99.99", "min", "mean", "max", "samples"] {
            let place = format!("/latency_us/{kind}/{name}");
            assert!(places.contains(&place.as_str()), "{place}");
        }
        for place in [
            "/load/scheduled",
            "/load/completed",
            "/load/errors/total",
            "/load/timed_out",
            "/server/cpu_us_per_message",
            "/server/fds",
            "/server/voluntary_switches",
            "/server/involuntary_switches",
            "/network/listen_overflows",
            "/network/syn_retransmits",
        ] {
            assert!(places.contains(&place), "{place}");
        }
    }
    let page = render_one(&fixture::open_loop());
    for shown in [
        "value=\"360\">360</data>",
        "value=\"17.6\">17.6 µs</data>",
        "value=\"900.0\">900 µs</data>",
        "value=\"450.0\">450 µs</data>",
        "value=\"0.998\">0.998</data>",
        "<td>ECONNRESET</td>",
        "<td>503</td>",
        "<td>connection 7 from 127.0.0.1:40312 got &quot;&lt;b&gt;&quot; at byte 0</td>",
        "value=\"2.81\">2.81 s</data>",
        "value=\"42991616\">41.0 MiB</data>",
    ] {
        assert!(page.contains(shown), "no {shown}");
    }
}

/// Goal: a chart is drawn if there are data, and a sentence takes its place if there are none.
///
/// Method: find the charts of both fixtures by their labels; every coordinate is a number.
///
/// Kills: an empty plot; a division by zero in a scale; a heat map without a cell.
#[test]
fn charts_have_data() {
    let labels = |page: &str| -> Vec<String> {
        let document = parsed(page);
        let charts = document.descendants().filter(|node| node.tag_name().name() == "svg");
        charts
            .map(|chart| {
                let shapes = ["path", "rect", "circle"];
                let is_data = |node: &roxmltree::Node<'_, '_>| {
                    shapes.contains(&node.tag_name().name())
                        && node.attribute("class") != Some("phase")
                        && node.attribute("d") != Some("")
                };
                assert!(chart.descendants().any(|node| is_data(&node)), "an empty chart");
                chart.attribute("aria-label").unwrap().to_owned()
            })
            .collect()
    };
    let [open, closed, several] = pages();
    let over_time = ["latency over time", "heat map of latency over time", "failures over time"];
    for label in over_time {
        assert!(labels(&open).iter().any(|it| it == label), "{label}");
        assert!(!labels(&closed).iter().any(|it| it == label), "{label}");
    }
    assert!(closed.contains("This report has no intervals."));
    assert!(closed.contains("No failure of any kind"));
    assert_eq!(labels(&several).len(), labels(&open).len() + labels(&closed).len() + 1);
    for page in [open, closed, several] {
        assert!(!page.contains("=\"NaN") && !page.contains("=\"inf") && !page.contains("NaN "));
    }
}

/// Goal: the chart marks connects that waited for a retransmitted SYN.
///
/// Method: connects of slightly more than a second, and fast ones.
///
/// Kills: no marks; marks on every chart; microseconds for seconds.
#[test]
fn slow_connects_are_marked() {
    let mut report = fixture::closed_loop();
    let caption = "The marks are the times at which a lost SYN is retransmitted.";
    assert!(
        !render_one(&report).contains(caption) && !render_one(&report).contains("class=\"mark\"")
    );
    let mut connect = crate::measure::stats::new_histogram();
    [200_000, 1_002_000_000].into_iter().for_each(|ns| connect.saturating_record(ns));
    report.latency_us.connect = crate::report::model::distribution::distribution(&connect, 0, &[]);
    report.connections.slow_connects = Some(1);
    let page = render_one(&report);
    assert!(page.contains(caption), "{page}");
    let document = parsed(&page);
    let is_mark = |node: &roxmltree::Node<'_, '_>| node.attribute("class") == Some("mark");
    let marks = document.descendants().filter(is_mark).count();
    assert_eq!(marks, 2);
    assert!(page.contains("data-json=\"/connections/slow_connects\" value=\"1\">1</data>"));
}

/// Goal: a report without measurements can be rendered.
///
/// Method: no latency, no connection, no server, no known figure; broken histograms.
///
/// Kills: a panic at a missing part.
#[test]
fn nothing_to_show() {
    let mut report = fixture::open_loop();
    report.latency_us = crate::report::model::Latencies {
        response: None,
        service: None,
        connect: None,
        tls: None,
        handshake: None,
    };
    report.server = None;
    report.phases.clear();
    report.connections.per_conn = None;
    report.env.kernel = None;
    report.intervals.iter_mut().for_each(|interval| {
        *interval = Interval {
            p50: None,
            p99: None,
            p99_9: None,
            max: None,
            send_lag_p99: None,
            hdr_v2: Some("!".to_owned()),
            ..interval.clone()
        };
    });
    let page = render_one(&report);
    parsed(&page);
    assert!(page.contains("No message got a reply or a timeout in any interval."));
    parsed(&render(&[report, fixture::closed_loop()]));
}
