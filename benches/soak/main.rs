//! What only shows after a while: leaks over many mounts, memory over a day of reads, and what is
//! left of hundreds of servers that were killed.
//!
//! ```sh
//! cargo bench --bench soak -- [--quick] [--lane fuse|pages] [--cycles N] [--minutes N] [--kills N]
//!     [--out FILE] [--folder DIRECTORY]
//! ```
//!
//! Parts: `cycles` mounts, reads and unmounts again and again, by the program and within one
//! process; `day` reads as fast as it can, in every way, and looks at the server's memory; `kills`
//! kills servers at random moments while others read, while whole files are hashed, and while
//! tables are written to the index store. A number of 0 leaves a part out.
//!
//! Guarantees: every byte that is read is compared with the signed one. Ends with an error if one
//! differed, if a reader of a mount that is kept alive saw an error, or if anything was left or
//! grew. Needs root.

mod cycles;
mod day;
mod host;
mod kills;
mod model;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use test_support::bench::arguments::Arguments;
use test_support::bench::report::machine;
use test_support::built;

/// What keeps a server's words out of the report.
fn log_into(folder: &Path) -> [OsString; 2] {
    ["--log-file".into(), folder.join("log").into()]
}

type Anyhow<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Options {
    lane: String,
    cycles: u32,
    day: Duration,
    kills: u32,
    out: PathBuf,
    folder: PathBuf,
    /// This process is the one that mounts again and again by itself.
    is_one_process: bool,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            lane: "fuse".to_owned(),
            cycles: 1000,
            day: Duration::from_secs(600),
            kills: 300,
            out: PathBuf::from("target/soak.json"),
            folder: built::scratch().join("soak"),
            is_one_process: false,
        };
        let mut arguments = Arguments::new(arguments);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {
                    options.cycles = 30;
                    options.day = Duration::from_secs(20);
                    options.kills = 10;
                }
                "--lane" => options.lane = arguments.value()?,
                "--cycles" => options.cycles = arguments.number()?,
                "--minutes" => {
                    options.day = Duration::from_secs(60 * arguments.number::<u64>()?);
                }
                "--kills" => options.kills = arguments.number()?,
                "--out" => options.out = arguments.value()?.into(),
                cycles::ONE_PROCESS => options.is_one_process = true,
                "--folder" => options.folder = arguments.value()?.into(),
                _ => return Err(format!("{argument}: unknown")),
            }
        }
        Ok(options)
    }
}

fn main() -> Anyhow<()> {
    let mut options = Options::parse(std::env::args().skip(1))?;
    if options.is_one_process {
        return cycles::one_process(&options);
    }
    if options.folder.exists() {
        fs::remove_dir_all(&options.folder)?;
    }
    fs::create_dir_all(&options.folder)?;
    // Absolute, as the kernel's table of mounts has it.
    options.folder = options.folder.canonicalize()?;
    let mut document = json!({ "machine": machine(), "lane": options.lane });
    let mut wrong = Vec::new();
    let mut part = |name: &str, result: Anyhow<(serde_json::Value, Vec<String>)>| -> Anyhow<()> {
        let (value, more) = result?;
        println!("{name}: {value:#}");
        wrong.extend(more.into_iter().map(|what| format!("{name}: {what}")));
        document[name] = value;
        Ok(())
    };
    if options.cycles > 0 {
        part("cycles", cycles::run(&options))?;
    }
    if !options.day.is_zero() {
        part("day", day::run(&options))?;
    }
    if options.kills > 0 {
        part("kills", kills::run(&options))?;
    }
    document["wrong"] = json!(wrong);
    // Where `plot` looks for them.
    if options.day > Duration::ZERO {
        document["curves"] = json!({ "day": document["day"]["points"].take() });
    }
    fs::write(&options.out, serde_json::to_vec_pretty(&document)?)?;
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}
