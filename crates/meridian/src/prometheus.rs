//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write as _};

/// Adds a family of metrics to the text: what it is, and a row for each pair of labels (`{name="value"}`, or nothing) and value.
pub(crate) fn family<L: Display, V: Display>(
    out: &mut String,
    kind: &str,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (L, V)>,
) {
    // Writing to a string does not fail.
    _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in rows {
        _ = writeln!(out, "{name}{labels} {value}");
    }
}
