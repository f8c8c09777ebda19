//! Called by mount(8), for `/etc/fstab`, systemd's mount units and `mount -t fuse.model-fs`.
//!
//! mount(8) runs `mount.TYPE MODEL MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`, which
//! is this program by another name. Where there is no such name, `mount.fuse3` runs `model-fs MODEL
//! MOUNTPOINT -o OPTIONS`. Both become a command line of the verb `mount`: each of its flags is an
//! option.
//!
//! Guarantees: an option that isn't understood mounts nothing. Exit codes are those that mount(8)
//! documents, since it passes them on. Doesn't: know the flags of `mount`; it asks their
//! definition.

mod options;

#[cfg(test)]
pub(crate) use self::options::flag_options;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{ArgAction, Parser};
use model_fs::kernel::{self, MountOptions};
use model_fs::name::Escaped;
use nix::unistd::{Uid, User};

use self::options::{Options, UnknownOptions};
use crate::args::{self, Cli, Command};
use crate::background::Home;
use crate::exit::{Exit, Failure};
use crate::{background, terminal};

/// What mount(8) gives to a helper.
#[derive(Debug, Parser)]
#[command(
    name = "mount.model-fs",
    version,
    about = "Mount a signed model, when mount(8) asks for it",
    after_help = "Each flag of \"model-fs mount\" is an option: \
                  -o public_key=FILE,allow_other. \"man mount.model-fs\" lists all.",
    max_term_width = 100
)]
pub(crate) struct HelperArgs {
    /// The model: a directory or a file
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// Mount point: a directory
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,

    /// Mount options
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<OsString>,

    /// Look at the options and mount nothing
    #[arg(short = 'f')]
    fake: bool,

    /// Pass over options that resemble none of ours
    #[arg(short = 's')]
    sloppy: bool,

    /// Has no effect: there is no /etc/mtab
    #[arg(short = 'n')]
    no_mtab: bool,

    /// More log messages (twice: debugging)
    #[arg(short = 'v', action = ArgAction::Count)]
    verbose: u8,

    /// Refused: the mount belongs where its process is
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<OsString>,

    /// Has no effect: there is one type
    #[arg(short = 't', value_name = "TYPE")]
    fs_type: Option<OsString>,
}

/// What a call by mount(8) asks this program to do, if this is one; `None` in it where that is
/// done.
pub(crate) fn called(arguments: &[OsString]) -> Option<Result<Option<Cli>, Failure>> {
    is_call(arguments).then(|| understood(arguments))
}

/// The exit code that mount(8) documents: 1 for wrong usage, 32 for a mount that failed.
pub(crate) fn exit(exit: Exit) -> u8 {
    match exit {
        Exit::Done => 0,
        Exit::Usage => 1,
        Exit::Failed | Exit::Signature | Exit::Content => 32,
    }
}

/// By its name, or as `mount.fuse3` calls what serves a file system. No verb has a slash in it.
fn is_call(arguments: &[OsString]) -> bool {
    let is_helper = |name: &OsStr| name.as_encoded_bytes().starts_with(b"mount.");
    let name = arguments
        .first()
        .and_then(|name| Path::new(name).file_name());
    name.is_some_and(is_helper) || {
        let [_, model, _, flag, _] = arguments else {
            return false;
        };
        model.as_encoded_bytes().contains(&b'/') && flag == "-o"
    }
}

fn understood(arguments: &[OsString]) -> Result<Option<Cli>, Failure> {
    let call = match args::try_parse::<HelperArgs>(arguments) {
        Ok(call) => call,
        Err(message) => {
            let message = args::shown::<HelperArgs>(message, arguments);
            return if message.use_stderr() {
                Err(usage(&message))
            } else {
                terminal::show_clap(&message).map(|()| None)
            };
        }
    };
    if let Some(namespace) = &call.namespace {
        let namespace = Escaped::path(namespace);
        let error = anyhow::anyhow!("cannot mount in another namespace ({namespace})");
        let hint = "nsenter --mount=NAMESPACE mount …".to_owned();
        return Err(Failure::new(Exit::Failed, error).with_hint(hint));
    }
    let unknown = if call.sloppy {
        UnknownOptions::PassOver
    } else {
        UnknownOptions::Refuse
    };
    let options = Options::read(&call.options, unknown)?;
    // The process in the background reads them again, and has nothing to add.
    if !background::is_child() {
        options
            .notes(&call.mountpoint)
            .iter()
            .for_each(|it| terminal::note(it));
    }
    let command_line = options.command_line(&call.model, &call.mountpoint, call.verbose);
    let mut cli = args::parse(&command_line).map_err(|message| usage(&message))?;
    let mut known = MountOptions::new(&call.model);
    for list in options.lists() {
        known.parse(list)?;
    }
    if let Command::Mount(args) = &mut cli.command {
        if args.allow_other {
            known.allow_other()?;
        }
        // mount(8) takes HOME away, and mount.fuse3 says root's for everybody. Trust store and
        // table store are the user's all the same.
        let user = User::from_uid(Uid::effective()).ok().flatten();
        args.home = Home::Is(user.map(|user| user.dir));
    }
    if call.fake {
        return Ok(None);
    }
    if options.remount {
        kernel::remount(&call.mountpoint, &known)?;
        return Ok(None);
    }
    Ok(Some(cli))
}

/// What clap has to say as one line, without the usage of a command that nobody has typed.
fn usage(message: &clap::Error) -> Failure {
    let text = message.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let first = text.split("\n\n").next().unwrap_or_default();
    let line: Vec<&str> = first.lines().map(str::trim).collect();
    Failure::new(Exit::Usage, anyhow::anyhow!(line.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::plain;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn asked(line: &str) -> Result<Option<Cli>, Failure> {
        called(&arguments(line)).unwrap()
    }

    #[test]
    fn a_call_is_told_by_its_name_or_by_a_path_in_the_place_of_a_verb() {
        for line in [
            "mount.model-fs",
            "/sbin/mount.fuse.model-fs m p -o ro",
            "model-fs /m /p -o ro",
            "/usr/bin/model-fs ./m p -o ro",
        ] {
            assert!(is_call(&arguments(line)), "{line}");
        }
        for line in [
            "",
            "model-fs",
            "model-fs mount m p -o ro",
            "model-fs mount /m /p",
            "model-fs /m /p",
            "model-fs /m /p -o",
            "/mount.d/model-fs status /p -o x",
            "mount-model-fs m p -o ro",
        ] {
            assert!(!is_call(&arguments(line)), "{line}");
        }
    }

    #[test]
    fn a_call_becomes_a_mount() {
        for line in [
            "mount.model-fs /m /p",
            "mount.fuse.model-fs /m /p -s -n -v -o ro,public_key=/k -t fuse.model-fs",
            "model-fs /m /p -o ro,dev,suid,public_key=/k",
        ] {
            let cli = asked(line).unwrap().unwrap();
            assert!(matches!(cli.command, Command::Mount(_)), "{line}");
        }
        assert!(asked("mount.model-fs /m /p -f -o ro").unwrap().is_none());
    }

    #[test]
    fn a_wrong_call_mounts_nothing_and_has_an_exit_code_of_mount() {
        for (line, code, text) in [
            ("mount.model-fs /m", 1, "<MOUNTPOINT>"),
            ("mount.model-fs /m /p --public-key k", 1, "'--public-key'"),
            ("mount.model-fs /m /p -o nonsense", 1, "\"nonsense\""),
            ("mount.model-fs /m /p -f -o nonsense", 1, "\"nonsense\""),
            ("mount.model-fs /m /p -f -o uid=me", 1, "\"uid=me\""),
            (
                "mount.model-fs /m /p -f -o allow_other,allow_root",
                1,
                "exclude",
            ),
            ("mount.model-fs /m /p -o threads=0", 1, "'--threads <N>'"),
            (
                "mount.model-fs /m /p -o identity=me",
                1,
                "--identity-provider",
            ),
            (
                "mount.model-fs /m /p -N /proc/1/ns/mnt",
                32,
                "/proc/1/ns/mnt",
            ),
            (
                "mount.model-fs /m /proc -o remount,ro",
                32,
                "no model is mounted",
            ),
        ] {
            let failure = asked(line).expect_err(line);
            assert_eq!(exit(failure.exit), code, "{line}");
            let said = plain(&failure);
            assert!(said.contains(text) && !said.contains("Usage"), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }
}
