//! What every report has: the spread of samples, and the machine that they belong to.

use serde_json::{Value, json};

/// Median, quartiles and extremes.
pub fn spread(mut values: Vec<f64>) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    json!({ "median": at(2), "q1": at(1), "q3": at(3), "min": at(0), "max": at(4) })
}

/// The value below which a share of some samples lies.
pub fn percentile(values: &mut [f64], per_cent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len => values[(len - 1) * per_cent / 100],
    }
}

/// The machine that the numbers belong to.
pub fn machine() -> Value {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = text("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    json!({
        "cpu": field("model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": text("/proc/sys/kernel/osrelease").trim(),
        "memory": text("/proc/meminfo").lines().next(),
        "load": text("/proc/loadavg").trim(),
    })
}
