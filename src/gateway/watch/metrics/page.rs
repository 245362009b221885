//! The text format of Prometheus, version 0.0.4.
//!
//! ```text
//! # HELP kohakuriver_gateway_tunnels Tunnels that are open.
//! # TYPE kohakuriver_gateway_tunnels gauge
//! kohakuriver_gateway_tunnels 3
//! ```

use std::fmt::{Display, Write};

use super::histogram::Times;

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
    /// Writes a counter, whose name ends so, or a gauge, with a sample for each set of labels.
    pub(super) fn samples<'l, const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; LABELS], impl Display)>,
    ) {
        self.family(name, help, if name.ends_with("_total") { "counter" } else { "gauge" });
        for (labels, value) in samples {
            self.sample(name, "", &labels, value);
        }
    }

    /// A metric with one sample, which has no labels.
    pub(super) fn value(&mut self, name: &str, help: &str, value: impl Display) {
        self.samples(name, help, [([], value)]);
    }

    /// Writes a histogram.
    pub(super) fn histogram(&mut self, name: &str, help: &str, times: &Times) {
        self.family(name, help, "histogram");
        let bounds = times.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, bucket) in bounds.zip(&times.buckets) {
            count += bucket;
            self.sample(name, "_bucket", &[("le", &bound)], count);
        }
        self.sample(name, "_sum", &[], times.sum.as_secs_f64());
        self.sample(name, "_count", &[], count);
    }

    /// The whole page.
    pub(super) fn text(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[Label<'_>], value: impl Display) {
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
