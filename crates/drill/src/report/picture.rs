//! The timeline as a picture: for each region, successes (up) and errors (down) per 100 ms, and the marks.

use crate::measure::Marks;
use crate::sample::{End, Micros, Sample, seconds};
use meridian_types::RegionName;
use std::fmt::Write as _;

const BIN: Micros = 100_000;
const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 130.0;
const TOP: f64 = 60.0;
const ROW: f64 = 110.0;
/// The part of a row above its axis.
const UP: f64 = 62.0;
const DOWN: f64 = 30.0;

/// Requests of one region that ended in one span of 100 ms.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    done: u32,
    errors: u32,
}

/// Draws an SVG picture that stands for itself: no script, no style sheet, no font of its own.
pub(super) fn draw(regions: &[RegionName], samples: &[Sample], marks: &Marks, rto_s: Option<f64>) -> String {
    let end = samples.iter().map(|one| one.returned).max().unwrap_or(0).max(marks.end).max(BIN);
    let x = |at: Micros| LEFT + WIDTH * seconds(0, at) / seconds(0, end);
    #[allow(clippy::cast_precision_loss)]
    let height = TOP + ROW * regions.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" fill=\"#333333\">requests per 100 ms: answered (green, up), refused or unknown (red, down)</text>\n",
        LEFT + WIDTH + 20.0
    );
    let bins = bins(regions.len(), samples, end);
    let peak = bins.iter().flatten().map(|bin| bin.done.max(bin.errors)).max().unwrap_or(0).max(1);
    for (index, (region, bins)) in regions.iter().zip(&bins).enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let axis = TOP + ROW * index as f64 + UP;
        row(&mut svg, region, bins, axis, f64::from(peak), &x);
    }
    let undone = seconds(marks.fault, marks.undone);
    let mut lines = vec![(0.0, "fault", "#b00020", 32.0), (undone, "undone", "#5f6368", 32.0)];
    lines.extend(marks.detected.map(|at| (seconds(marks.fault, at), "noticed", "#b26a00", 44.0)));
    lines.extend(rto_s.map(|rto| (rto, "recovered", "#1a5fb4", 56.0)));
    for (at_s, name, colour, y) in lines {
        let at = x(0) + WIDTH * (at_s + seconds(0, marks.fault)) / seconds(0, end);
        // A string can always be written to.
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {y}V{:.1}\" stroke=\"{colour}\" stroke-dasharray=\"4 3\"/>\
             <text x=\"{:.1}\" y=\"{y}\" fill=\"{colour}\">{name} {at_s:.2} s</text>",
            height - 36.0,
            at + 4.0,
        );
    }
    scale(&mut svg, marks, end, height, &x);
    svg.push_str("</svg>\n");
    svg
}

fn bins(regions: usize, samples: &[Sample], end: Micros) -> Vec<Vec<Bin>> {
    let count = usize::try_from(end / BIN).unwrap_or(0) + 1;
    let mut bins = vec![vec![Bin::default(); count]; regions];
    for one in samples {
        let slot = usize::try_from(one.returned / BIN).unwrap_or(usize::MAX);
        let Some(bin) = bins.get_mut(usize::from(one.path)).and_then(|row| row.get_mut(slot)) else {
            continue;
        };
        match one.end {
            End::Done => bin.done += 1,
            End::Refused | End::Unknown => bin.errors += 1,
        }
    }
    bins
}

fn row(
    svg: &mut String,
    region: &RegionName,
    bins: &[Bin],
    axis: f64,
    peak: f64,
    x: &impl Fn(Micros) -> f64,
) {
    let area = |height: &dyn Fn(&Bin) -> f64| {
        let mut path = format!("M{:.1} {axis:.1}", x(0));
        for (index, bin) in bins.iter().enumerate() {
            let start = index as Micros * BIN;
            let _ = write!(path, "L{:.1} {:.1}H{:.1}", x(start), axis - height(bin), x(start + BIN));
        }
        let _ = write!(path, "V{axis:.1}Z");
        path
    };
    let done = area(&|bin| UP * f64::from(bin.done) / peak);
    let errors = area(&|bin| -DOWN * f64::from(bin.errors) / peak);
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{axis:.1}\" fill=\"#333333\">{region}</text>\
         <path d=\"{done}\" fill=\"#2e9e5b\"/><path d=\"{errors}\" fill=\"#d93025\"/>\
         <path d=\"M{LEFT} {axis:.1}h{WIDTH}\" stroke=\"#999999\"/>"
    );
}

/// Seconds from the fault along the lower edge, some ten of them.
fn scale(svg: &mut String, marks: &Marks, end: Micros, height: f64, x: &impl Fn(Micros) -> f64) {
    let steps = [1u64, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];
    let step = steps.into_iter().find(|step| end / (step * 1_000_000) <= 12).unwrap_or(2_000) * 1_000_000;
    let mut at = marks.fault % step;
    while at <= end {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#333333\" text-anchor=\"middle\">{:.0} s</text>",
            x(at),
            height - 18.0,
            seconds(marks.fault, at),
        );
        at += step;
    }
}
