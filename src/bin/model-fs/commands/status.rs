//! `model-fs status`.

use anyhow::Context as _;
use model_fs::fs::STATUS_ATTRIBUTE;
use rustix::io::Errno;
use serde_json::{Map, Value};

use crate::cli::StatusArgs;
use crate::exit::Failure;
use crate::terminal;

/// `XATTR_SIZE_MAX` of Linux.
const MAX_ATTRIBUTE: usize = 64 * 1024;

pub(crate) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let path = args.mountpoint.display();
    let mut value = vec![0; MAX_ATTRIBUTE];
    let len = match rustix::fs::getxattr(&args.mountpoint, STATUS_ATTRIBUTE, &mut value[..]) {
        Ok(len) => len,
        Err(Errno::NODATA | Errno::NOTSUP) => {
            return Err(anyhow::anyhow!("{path} is not a mount of model-fs").into());
        }
        Err(Errno::NOTCONN) => {
            return Err(
                Failure::from(anyhow::anyhow!("the mount at {path} is dead"))
                    .with_hint(format!("model-fs umount {path}")),
            );
        }
        Err(errno) => return Err(anyhow::Error::new(errno).context(path.to_string()).into()),
    };
    let status: Value = serde_json::from_slice(&value[..len])
        .with_context(|| format!("{path}: not a status of model-fs"))?;
    if args.json {
        println!("{status:#}");
        return Ok(());
    }
    let Value::Object(facts) = status else {
        return Err(anyhow::anyhow!("{path}: not a status of model-fs").into());
    };
    print(facts);
    Ok(())
}

/// A line for each fact, those of a group like the others.
fn print(facts: Map<String, Value>) {
    for (name, value) in facts {
        let name = name.replace('_', " ");
        match value {
            Value::Array(values) => {
                for value in values {
                    println!("{name:<18} {}", terminal::text_of(&value));
                }
            }
            Value::Object(group) => print(group),
            Value::Null => {}
            value => println!("{name:<18} {}", terminal::text_of(&value)),
        }
    }
}
