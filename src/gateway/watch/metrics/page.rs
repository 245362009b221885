//! The text format of Prometheus, version 0.0.4.
//!
//! ```text
//! # HELP kohakuriver_gateway_tunnels Tunnels that are open.
//! # TYPE kohakuriver_gateway_tunnels gauge
//! kohakuriver_gateway_tunnels 3
//! ```

use std::fmt::Write;
use std::time::Duration;

use super::histogram::Histogram;

/// The full name of one of the gateway's own metrics.
macro_rules! name {
    ($name:literal) => {
        concat!("kohakuriver_gateway_", $name)
    };
}
pub(super) use name;

/// The content type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics, so far.
#[derive(Default)]
pub(super) struct Page(String);

/// The label of a sample.
type Label<'l> = (&'static str, &'l str);

impl Page {
    /// Writes a counter, with a sample for each set of labels.
    pub(super) fn counter<'l, const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; LABELS], u64)>,
    ) {
        self.family(name, help, "counter");
        for (labels, value) in samples {
            self.sample(name, "", &labels, value);
        }
    }

    /// Writes a counter of seconds.
    pub(super) fn seconds(&mut self, name: &str, help: &str, value: Duration) {
        self.family(name, help, "counter");
        self.sample(name, "", &[], value.as_secs_f64());
    }

    /// Writes a gauge with one sample.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[Label<'_>], value: f64) {
        self.family(name, help, "gauge");
        self.sample(name, "", labels, value);
    }

    /// Writes a gauge, with a sample for each set of labels.
    pub(super) fn gauges<'l, const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; LABELS], f64)>,
    ) {
        self.family(name, help, "gauge");
        for (labels, value) in samples {
            self.sample(name, "", &labels, value);
        }
    }

    /// Writes a histogram.
    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, help, "histogram");
        let (bounded, all) = histogram.cumulative();
        for (bound, count) in bounded {
            self.sample(name, "_bucket", &[("le", &bound.to_string())], count);
        }
        self.sample(name, "_bucket", &[("le", "+Inf")], all);
        self.sample(name, "_sum", &[], histogram.sum());
        self.sample(name, "_count", &[], all);
    }

    /// The whole page.
    pub(super) fn text(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[Label<'_>], value: impl std::fmt::Display) {
        self.0 += name;
        self.0 += suffix;
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}
