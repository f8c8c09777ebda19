//! Plots of what the other benchmarks wrote.
//!
//! ```sh
//! cargo run --release --package model-fs-test-support --example plot -- [REPORT.json]...
//! ```
//!
//! Each report (by default those in `docs/performance`) gives SVG files beside it: `REPORT.svg`
//! with the medians of a `read_path` report, `REPORT-CURVE.svg` for each curve of a `cost` or
//! `soak` report.
//! Bars and lines are medians, thin lines go from the first to the third quartile. Reports that
//! have no plot are passed over.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use plotters::prelude::*;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito 2008).
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

const FONT: &str = "sans-serif";

/// Width of a panel of curves, and its height, in pixels.
const PANEL: (u32, u32) = (480, 320);

/// Height of a bar and of the space that belongs to it, in pixels.
const BAR: i32 = 12;
const ROW: i32 = 16;

/// A part of a plot with axes of its own.
struct Panel {
    title: &'static str,
    /// Names in the report, and what to call them.
    series: &'static [(&'static str, &'static str)],
    /// Whether small values and large ones matter alike.
    log: bool,
}

const fn panel(
    title: &'static str,
    series: &'static [(&'static str, &'static str)],
    log: bool,
) -> Panel {
    Panel { title, series, log }
}

const MOUNT: Panel = panel("mounting, ms", &[("mount_ms", "")], true);
const READS: Panel = panel(
    "reading 4 KiB at random, µs",
    &[("read_p50_us", "median"), ("read_p99_us", "p99")],
    true,
);

/// What is shown of a curve: the meaning of x, and the panels.
fn panels(curve: &str) -> Option<(&'static str, Vec<Panel>)> {
    let memory = panel(
        "peak memory, MiB",
        &[("mounted_mib", "mounted"), ("all_open_mib", "files open")],
        true,
    );
    let first = panel("first read of a file, ms", &[("first_read_ms", "")], true);
    Some(match curve {
        "size" => ("GB in 128 files", vec![MOUNT, memory, first, READS]),
        "files" => ("files", vec![MOUNT, memory]),
        "shards" => ("shards of 1 MiB", vec![MOUNT, memory, first, READS]),
        "readers" => (
            "concurrent readers",
            vec![
                READS,
                panel("reads a second", &[("reads_per_second", "")], false),
            ],
        ),
        "day" => (
            "minutes",
            vec![
                panel("memory of the server, MiB", &[("memory_mib", "")], false),
                panel(
                    "what else it has",
                    &[("threads", "threads"), ("descriptors", "descriptors")],
                    false,
                ),
            ],
        ),
        _ => return None,
    })
}

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1);
    let mut reports: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    if reports.is_empty() {
        for entry in fs::read_dir("docs/performance")? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                reports.push(path);
            }
        }
    }
    for path in reports {
        let report: Value = serde_json::from_slice(&fs::read(&path)?)?;
        if report["scenarios"].is_object() {
            bars(&report, &path.with_extension("svg"))?;
        }
        for (name, points) in report["curves"].as_object().into_iter().flatten() {
            if let (Some((x, panels)), Some(points)) = (panels(name), points.as_array()) {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let out = path.with_file_name(format!("{stem}-{name}.svg"));
                curves(x, &panels, points, &out)?;
            }
        }
    }
    Ok(())
}

/// Median and quartiles.
fn quartiles(value: &Value) -> Option<[f64; 3]> {
    let get = |name: &str| value[name].as_f64();
    Some([get("q1")?, get("median")?, get("q3")?])
}

/// Throughputs, a bar for each contestant.
#[expect(clippy::cast_possible_truncation, reason = "pixels")]
fn bars(report: &Value, out: &Path) -> Result<()> {
    const LABELS: i32 = 230;
    const WIDTH: i32 = 860;
    let mut rows = Vec::new();
    for (scenario, results) in report["scenarios"].as_object().into_iter().flatten() {
        for (index, (label, entry)) in results["entries"]
            .as_object()
            .into_iter()
            .flatten()
            .enumerate()
        {
            // What reads single pages is told by its latency.
            if let (Some(values), None) =
                (quartiles(&entry["gb_per_second"]), entry["p50_us"].as_f64())
            {
                let scenario = if index == 0 { scenario.as_str() } else { "" };
                rows.push((scenario, label.as_str(), values));
            }
        }
    }
    let most = rows.iter().map(|row| row.2[2]).fold(1.0, f64::max);
    let height = i32::try_from(rows.len())? * ROW + 40;
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::new(out, size).into_drawing_area();
    area.fill(&WHITE)?;
    let at = |value: f64| LABELS + (value / most * f64::from(WIDTH - LABELS - 60)) as i32;
    let style = (FONT, 11).into_font();
    for gb in 0..=most as i32 {
        let x = at(f64::from(gb));
        let line = vec![(x, 0), (x, height - 30)];
        area.draw(&PathElement::new(line, BLACK.mix(0.15)))?;
        area.draw(&Text::new(
            gb.to_string(),
            (x - 3, height - 26),
            style.clone(),
        ))?;
    }
    area.draw(&Text::new("GB/s", (WIDTH - 50, height - 26), style.clone()))?;
    let mut y = 4;
    for (scenario, label, [q1, median, q3]) in rows {
        area.draw(&Text::new(scenario.to_owned(), (4, y + 1), style.clone()))?;
        area.draw(&Text::new(label.to_owned(), (120, y + 1), style.clone()))?;
        let ours = !matches!(
            label,
            "unverified" | "bindfs" | "gocryptfs" | "user-unverified"
        ) && !label.starts_with("direct")
            && !label.ends_with("-in-flight");
        let colour = if ours {
            COLOURS[0]
        } else {
            RGBColor(150, 150, 150)
        };
        let bar = [(LABELS, y), (at(median), y + BAR)];
        area.draw(&Rectangle::new(bar, colour.filled()))?;
        let middle = y + BAR / 2;
        let spread = vec![(at(q1), middle), (at(q3), middle)];
        area.draw(&PathElement::new(spread, BLACK))?;
        let value = Text::new(
            format!("{median:.2}"),
            (at(q3.max(median)) + 4, y + 1),
            style.clone(),
        );
        area.draw(&value)?;
        y += ROW;
    }
    area.present()?;
    Ok(())
}

/// The panels of a curve, side by side.
fn curves(x: &str, panels: &[Panel], points: &[Value], out: &Path) -> Result<()> {
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(columns);
    let size = (
        PANEL.0 * u32::try_from(columns)?,
        PANEL.1 * u32::try_from(rows)?,
    );
    let root = SVGBackend::new(out, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, area) in panels.iter().zip(root.split_evenly((rows, columns))) {
        draw(&area, x, panel, points)?;
    }
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(area: &Area<'_>, x: &str, panel: &Panel, points: &[Value]) -> Result<()> {
    let mut series = Vec::new();
    for &(name, label) in panel.series {
        let values: Vec<(f64, [f64; 3])> = points
            .iter()
            .filter_map(|point| Some((point["x"].as_f64()?, quartiles(&point[name])?)))
            .collect();
        if !values.is_empty() {
            series.push((label, values));
        }
    }
    let all = || series.iter().flat_map(|(_, values)| values);
    let (mut low, mut high) = (f64::MAX, 0.0_f64);
    let (mut left, mut right) = (f64::MAX, 0.0_f64);
    for &(at, [q1, _, q3]) in all() {
        (low, high) = (low.min(q1), high.max(q3));
        (left, right) = (left.min(at), right.max(at));
    }
    if high <= 0.0 {
        return Ok(());
    }
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(panel.title, (FONT, 15))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52);
    let across = (left / 1.2..right * 1.2).log_scale();
    // The two kinds of axis are two types.
    macro_rules! plot {
        ($up:expr) => {{
            let mut chart = chart.build_cartesian_2d(across, $up)?;
            chart
                .configure_mesh()
                .x_desc(x)
                .x_label_formatter(&|value| short(*value))
                .y_label_formatter(&|value| short(*value))
                .light_line_style(TRANSPARENT)
                .label_style((FONT, 11))
                .draw()?;
            for ((label, values), colour) in series.iter().zip(COLOURS) {
                let line = values.iter().map(|&(at, [_, median, _])| (at, median));
                let drawn = chart.draw_series(LineSeries::new(line.clone(), &colour))?;
                if !label.is_empty() {
                    drawn
                        .label(*label)
                        .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], colour));
                }
                chart.draw_series(line.map(|at| Circle::new(at, 3, colour.filled())))?;
                chart.draw_series(values.iter().map(|&(at, [q1, _, q3])| {
                    PathElement::new(vec![(at, q1), (at, q3)], colour)
                }))?;
            }
            if series.len() > 1 {
                chart
                    .configure_series_labels()
                    .position(SeriesLabelPosition::UpperLeft)
                    .background_style(WHITE.mix(0.8))
                    .label_font((FONT, 11))
                    .draw()?;
            }
        }};
    }
    if panel.log {
        plot!((low / 1.3..high * 1.3).log_scale());
    } else {
        plot!(0.0..high * 1.1);
    }
    Ok(())
}

/// A number in few characters.
fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{}k", value / 1e3)
    } else if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}
