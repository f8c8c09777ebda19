//! The options after `-o`, as flags of `mount`.
//!
//! Guarantees: each flag of `mount` with a long name is an option, since the names are those of its
//! definition; `_` and `-` in a name are the same. Each other option is one of the file system
//! ([`OPTION_NAMES`]), or means nothing to a helper. What is none of these is an error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use model_fs::kernel::option_list::{joined, split};
use model_fs::kernel::{OPTION_NAMES, OptionError};
use model_fs::name::Escaped;

use crate::args::Cli;
use crate::exit::{Exit, Failure};

/// Options for mount(8), systemd and the boot, that some of them hand on; and such as permit what a
/// mount has no use for: it is always `ro,nosuid,nodev,noatime`, and nothing in it is a link.
const WITHOUT_EFFECT: [&str; 37] = [
    "rw",
    "suid",
    "dev",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "nofail",
    "_netdev",
    "comment",
    "helper",
    "uhelper",
    "atime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "async",
    "sync",
    "dirsync",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "symfollow",
    "nosymfollow",
    "silent",
    "loud",
];

/// The flag that is no option: mount(8) goes on when what it calls has ended.
const FOREGROUND: &str = "foreground";

/// Flags with files by which is decided whom to trust, or what was signed.
const TRUST_FILES: [&str; 4] = [
    "public-key",
    "certificate-chain",
    "trust-config",
    "signature",
];

/// Options of the file system that a remount changes, or that every mount has.
const TAKEN_BY_REMOUNT: [&str; 7] = [
    "exec",
    "noexec",
    "nosuid",
    "nodev",
    "noatime",
    "defaults",
    "default_permissions",
];

/// Words, and beginnings of words, in names of options that say whom to trust or whom to let in,
/// whatever file system they are for.
const OF_TRUST: [&str; 9] = [
    "key", "cert", "issuer", "trust", "ident", "sign", "verif", "mode", "auth",
];

/// How alike two names are that one of which may be a misspelling of the other, from 0 to 1.
const ALIKE: f64 = 0.8;

/// What becomes of options that aren't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownOptions {
    /// An error.
    Refuse,
    /// Passed over, unless it may be a misspelling: of an option that says whom to trust, perhaps.
    PassOver,
}

/// Options that were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Flags of `mount`.
    flags: Vec<OsString>,
    /// Lists for the flag `-o` of `mount`, an option each.
    lists: Vec<String>,
    /// Whether a mount is to be changed, not made.
    pub(super) remount: bool,
    /// Whether the last of `ro` and `rw` is `rw`.
    read_write: bool,
    /// Options that aren't known and were passed over.
    passed_over: Vec<String>,
}

impl Options {
    /// Reads lists as they come after `-o`.
    pub(super) fn read(lists: &[OsString], unknown: UnknownOptions) -> Result<Self, Failure> {
        let flags = flags();
        let mut list = Vec::new();
        for one in lists {
            list.extend(split(one.as_bytes()).map_err(OptionError::from)?);
        }
        let mut options = Self {
            remount: list.iter().any(|option| option == b"remount"),
            ..Self::default()
        };
        for option in list {
            options.take(&flags, &option, unknown)?;
        }
        Ok(options)
    }

    fn take(
        &mut self,
        flags: &[Flag],
        option: &[u8],
        unknown: UnknownOptions,
    ) -> Result<(), Failure> {
        let (name, value) = match option.iter().position(|&byte| byte == b'=') {
            Some(at) => (&option[..at], Some(&option[at + 1..])),
            None => (option, None),
        };
        let name = String::from_utf8_lossy(name);
        let long = name.replace('_', "-");
        if let Some(flag) = flags.iter().find(|flag| flag.long == long) {
            if flag.long == FOREGROUND {
                return Err(wrong(format!(
                    "mount option \"{FOREGROUND}\": mount(8) waits for what it calls; \
                     \"model-fs mount\" takes it"
                )));
            }
            if let Some(value) = value
                && TRUST_FILES.contains(&&*flag.long)
                && !value.starts_with(b"/")
            {
                return Err(wrong(format!(
                    "mount option \"{name}\" takes an absolute path: mount(8) is called from \
                     anywhere, and another directory may have another file of that name"
                )));
            }
            let argument = flag.with(&name, value)?;
            // The line of fstab and the command line may both say it. What has a value is another
            // matter: who may add options to a line doesn't change those that it has.
            let again = flag.value.is_none() && self.flags.contains(&argument);
            if flag.long == "verbose" || !again {
                self.flags.push(argument);
            }
            return Ok(());
        }
        match &*name {
            "remount" => {}
            // What the mount table says of a mount is handed on as well.
            "user_id" | "group_id" | "seclabel" | "idmapped" if self.remount => {}
            "ro" | "rw" => self.read_write = name == "rw",
            _ if WITHOUT_EFFECT.contains(&&*name) => {}
            _ if name.starts_with("x-") || name.starts_with("X-") => {}
            _ if OPTION_NAMES.contains(&&*name) => {
                // Its value is looked at by the file system. A text that isn't UTF-8 is none of
                // its values.
                self.lists
                    .push(String::from_utf8_lossy(&joined(option)).into_owned());
            }
            _ => match (nearest(flags, &name), unknown) {
                (None, UnknownOptions::PassOver) if !may_be_of_trust(&name) => {
                    self.passed_over.push(Escaped::bounded(&name).to_string());
                }
                (nearest, _) => return Err(unknown_option(&name, nearest)),
            },
        }
        Ok(())
    }

    /// Options of the file system, each a list of its own.
    pub(super) fn lists(&self) -> &[String] {
        &self.lists
    }

    /// The command line of `mount` for these.
    pub(super) fn command_line(
        &self,
        model: &Path,
        mountpoint: &Path,
        verbose: u8,
    ) -> Vec<OsString> {
        let mut line: Vec<OsString> = ["model-fs", "mount"].map(OsString::from).into();
        line.extend(self.flags.iter().cloned());
        for list in &self.lists {
            line.extend(["-o".into(), list.into()]);
        }
        line.extend((0..verbose).map(|_| "--verbose".into()));
        line.extend(["--".into(), model.into(), mountpoint.into()]);
        line
    }

    /// What the user may want to know of them.
    pub(super) fn notes(&self, mountpoint: &Path) -> Vec<String> {
        let mut notes = Vec::new();
        let stays = |list: &String| !TAKEN_BY_REMOUNT.contains(&list.as_str());
        if self.remount && (!self.flags.is_empty() || self.lists.iter().any(stays)) {
            notes.push(format!(
                "note: {} stays as it was mounted, but for exec and noexec; to change other \
                 options, unmount it and mount it again",
                Escaped::path(mountpoint)
            ));
        } else if self.read_write {
            notes.push(format!(
                "warning: {} is mounted read-only, as every model is (the option ro says so)",
                Escaped::path(mountpoint)
            ));
        }
        if !self.passed_over.is_empty() {
            let passed_over = self.passed_over.join(", ");
            notes.push(format!("warning: unknown mount options: {passed_over}"));
        }
        notes
    }
}

/// A flag of `mount`.
#[derive(Debug)]
struct Flag {
    /// Its long name.
    long: String,
    /// What its value is called, if it takes one.
    value: Option<String>,
    /// What it is for.
    #[cfg(test)]
    help: String,
}

impl Flag {
    /// The flag as an argument, for the option `name`.
    fn with(&self, name: &str, value: Option<&[u8]>) -> Result<OsString, Failure> {
        let mut argument = OsString::from(format!("--{}", self.long));
        match (&self.value, value) {
            (None, None) => {}
            (Some(_), Some(value)) => {
                argument.push("=");
                argument.push(OsStr::from_bytes(value));
            }
            (Some(value), None) => {
                return Err(wrong(format!(
                    "mount option \"{name}\" takes a value: {name}={value}"
                )));
            }
            (None, Some(_)) => {
                return Err(wrong(format!("mount option \"{name}\" takes no value")));
            }
        }
        Ok(argument)
    }
}

/// All flags of `mount` that have a long name, those that every verb has among them.
fn flags() -> Vec<Flag> {
    let program = Cli::command();
    let mount = program.find_subcommand("mount").map(Command::get_arguments);
    let arguments = mount.into_iter().flatten().chain(program.get_arguments());
    let flags = arguments.filter_map(|argument| {
        let values = argument.get_action().takes_values();
        let name = argument.get_value_names().and_then(<[_]>::first);
        Some(Flag {
            long: argument.get_long()?.to_owned(),
            value: values.then(|| name.map_or("VALUE", |name| name.as_str()).to_owned()),
            #[cfg(test)]
            help: argument
                .get_help()
                .map_or_else(String::new, ToString::to_string),
        })
    });
    flags.collect()
}

/// The flags of `mount` as options: name, value and what each is for.
#[cfg(test)]
pub(crate) fn flag_options() -> Vec<(String, Option<String>, String)> {
    let options = flags().into_iter();
    options
        .filter(|flag| flag.long != FOREGROUND)
        .map(|flag| (flag.long.replace('-', "_"), flag.value, flag.help))
        .collect()
}

/// Whether an option by this name may be meant to say whom to trust, or whom to let in.
fn may_be_of_trust(name: &str) -> bool {
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| {
        let word = word.to_ascii_lowercase();
        word == "ca" || OF_TRUST.iter().any(|start| word.starts_with(start))
    })
}

/// The option that is spelt most like `name`, as it is written in lists.
fn nearest(flags: &[Flag], name: &str) -> Option<String> {
    let of_flags = flags.iter().map(|flag| flag.long.replace('-', "_"));
    let others = OPTION_NAMES.into_iter().chain(WITHOUT_EFFECT);
    let name = name.replace('-', "_");
    of_flags
        .chain(others.map(str::to_owned))
        .map(|known| (strsim::jaro_winkler(&known, &name), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

fn unknown_option(name: &str, nearest: Option<String>) -> Failure {
    let error = wrong(format!(
        "unknown mount option \"{}\"",
        Escaped::bounded(name)
    ));
    error.with_hint(match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "\"man mount.model-fs\" lists the options".to_owned(),
    })
}

fn wrong(text: String) -> Failure {
    Failure::new(Exit::Usage, anyhow::anyhow!(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Command as Verb, MountArgs};
    use crate::terminal::plain;

    fn read(list: &str) -> Result<Options, Failure> {
        Options::read(&[list.into()], UnknownOptions::Refuse)
    }

    /// What `mount` is told for a list.
    fn arguments(list: &str) -> MountArgs {
        let line = read(list)
            .unwrap()
            .command_line(Path::new("-m"), Path::new("/p"), 2);
        let cli = args::parse(&line).unwrap();
        assert_eq!(cli.log.verbose, 2);
        match cli.command {
            Verb::Mount(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn refused(list: &str) -> (String, Option<String>) {
        let failure = read(list).expect_err(list);
        assert_eq!(failure.exit, Exit::Usage, "{list}");
        (plain(&failure), failure.hint)
    }

    #[test]
    fn each_flag_of_mount_is_an_option() {
        let mut program = Cli::command();
        program.build();
        let mount = program.find_subcommand("mount").unwrap();
        let mut seen = 0;
        for argument in mount.get_arguments().filter(|it| !it.is_positional()) {
            let Some(long) = argument.get_long() else {
                assert_eq!(argument.get_short(), Some('o'), "{argument}");
                continue;
            };
            if long == "help" || long == FOREGROUND {
                continue;
            }
            for name in [long.to_owned(), long.replace('-', "_")] {
                let (option, flag) = if argument.get_action().takes_values() {
                    (format!("{name}=/a=b"), format!("--{long}=/a=b"))
                } else {
                    (name.clone(), format!("--{long}"))
                };
                let options = read(&option).unwrap_or_else(|e| panic!("{option}: {}", plain(&e)));
                assert_eq!(options.flags, [OsString::from(flag)]);
                assert!(options.lists.is_empty());
            }
            let underscored = long.replace('-', "_");
            let taken = |names: &[&str]| names.contains(&&*underscored);
            assert!(
                !taken(&WITHOUT_EFFECT),
                "{long} has another meaning as an option"
            );
            // The one that is both means the same.
            assert_eq!(taken(&OPTION_NAMES), long == "allow-other", "{long}");
            seen += 1;
        }
        assert!(seen > 15, "{seen} flags");
    }

    #[test]
    fn options_arrive_at_the_verb() {
        let args = arguments(
            "rw,noexec,nosuid,nodev,public_key=/k,allow_other,cache-size=1GiB,fsname=\"a,b\",uid=7,\
             ignore_paths=a,ignore_paths=b\\,c,user,_netdev,nofail,x-systemd.automount,X-a=b,\
             comment=x,on_violation=lockdown",
        );
        assert!(args.allow_other && !args.foreground);
        assert_eq!(args.model.model, Path::new("-m"));
        assert_eq!(args.mountpoint, Path::new("/p"));
        assert_eq!(args.cache_size.unwrap().bytes(), 1 << 30);
        assert_eq!(args.ignore.ignore_paths, [Path::new("a"), Path::new("b,c")]);
        assert_eq!(
            args.options,
            ["noexec", "nosuid", "nodev", "fsname=a\\,b", "uid=7"]
        );
        assert_eq!(args.trust.chosen(), args::Trust::PublicKey("/k".into()));
        let chains = arguments("certificate_chain=/a,certificate_chain=/b")
            .trust
            .chosen();
        assert_eq!(
            chains,
            args::Trust::CertificateChain(vec!["/a".into(), "/b".into()])
        );
    }

    #[test]
    fn a_wrong_option_is_named_with_the_nearest() {
        let (text, hint) = refused("ro,publik_key=/k");
        assert_eq!(text, "unknown mount option \"publik_key\"");
        assert_eq!(hint.unwrap(), "did you mean public_key?");
        for (list, near) in [
            ("no_exec", "noexec"),
            ("allowother", "allow_other"),
            ("ui=3", "uid"),
        ] {
            assert_eq!(refused(list).1.unwrap(), format!("did you mean {near}?"));
        }
        assert!(
            refused("frobnicate")
                .1
                .unwrap()
                .contains("man mount.model-fs")
        );
        assert_eq!(
            refused("public_key").0,
            "mount option \"public_key\" takes a value: public_key=PEM"
        );
        assert_eq!(
            refused("allow_other=1").0,
            "mount option \"allow_other\" takes no value"
        );
        assert!(refused("foreground").0.contains("\"model-fs mount\""));
        assert!(!refused("x\u{1b}[2J").0.contains('\u{1b}'));
    }

    #[test]
    fn what_resembles_an_option_is_never_passed_over() {
        let sloppy = |list: &str| Options::read(&[list.into()], UnknownOptions::PassOver);
        let options = sloppy("frobnicate=1,ro").unwrap();
        assert_eq!(options.passed_over, ["frobnicate"]);
        assert!(options.notes(Path::new("/p"))[0].contains("frobnicate"));
        assert!(sloppy("publik_key=/k").is_err());
        // Of other file systems, and meant to keep somebody out.
        for option in [
            "key_file=/k",
            "ca=/c",
            "sslcert=no",
            "verify=full",
            "mode=0700",
            "x,ca-file=/c",
        ] {
            assert_eq!(sloppy(option).is_err(), option != "sslcert=no", "{option}");
        }
        assert!(sloppy("kernel_cache,big_writes").is_ok());
    }

    #[test]
    fn a_flag_without_a_value_may_come_twice_and_one_with_a_value_may_not() {
        let args = arguments("allow_other,keep_alive,allow-other");
        assert!(args.allow_other && args.keep_alive);
        let line = read("public_key=/a,public_key=/b").unwrap();
        let line = line.command_line(Path::new("/m"), Path::new("/p"), 0);
        args::parse(&line).unwrap_err();
    }

    #[test]
    fn files_of_trust_are_named_from_the_root() {
        for option in TRUST_FILES {
            let (text, _) = refused(&format!("ro,{option}=k"));
            assert!(text.contains("absolute"), "{text}");
        }
        assert!(
            refused("comment=\"oops,public_key=/k")
                .0
                .contains("isn't closed")
        );
    }

    #[test]
    fn a_remount_says_what_it_leaves() {
        let notes = |list| read(list).unwrap().notes(Path::new("/p"));
        for list in ["remount,umask=077", "remount,uid=1", "remount,allow_other"] {
            assert!(notes(list)[0].contains("unmount it"), "{list}");
        }
        assert!(notes("remount,ro,noexec,nosuid,defaults,seclabel,user_id=0").is_empty());
    }

    #[test]
    fn who_asks_to_write_is_told_that_nobody_can() {
        assert!(read("ro").unwrap().notes(Path::new("/p")).is_empty());
        assert!(read("rw,ro").unwrap().notes(Path::new("/p")).is_empty());
        assert!(read("ro,rw").unwrap().notes(Path::new("/p"))[0].contains("read-only"));
    }
}
