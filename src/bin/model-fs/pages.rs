//! Man pages and completions for shells, made from the definition of the command line.
//!
//! They are kept in `docs/man` and `completions`, so that whoever packages the program needs no
//! tool; a test holds that they are in step, and writes them with `MODEL_FS_BLESS=1`. Guarantees:
//! the same on every machine. Doesn't: say anything of verbs and flags that isn't in their
//! definition, but for the options of mount(8) that aren't flags of ours.
//!
//! They are those of a build with the default features, as packages have it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use model_fs::name::Escaped;

use crate::args::Cli;
use crate::mount_helper::{HelperArgs, flag_options};

/// Where files are kept, and what they are to hold.
type Files = BTreeMap<PathBuf, String>;

const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
0
done
.TP
1
could not do it: I/O, permissions, no FUSE
.TP
2
wrong usage
.TP
3
the signature is invalid, malformed, or by nobody trusted
.TP
4
the signature holds, the content doesn't match it
"#;

const FILES: &str = r".SH FILES
.TP
.I MODEL/model.sig
the signature, unless \fB\-\-signature\fR names another file
.TP
.I ~/.config/model\-fs/trust.toml
who may sign, if no flag says whom to trust
.TP
.I /etc/model\-fs/trust.toml
the same for all users, after their own
.TP
.I ~/.cache/model\-fs/index
what was proved of models on this host; \fI/var/cache/model\-fs/index\fR without a home
.SH ENVIRONMENT
.TP
.B MODEL_FS_LOG
which events are logged, such as \fIdebug\fR or \fImodel_fs=info\fR
.TP
.B NO_COLOR
no colours on terminals
";

const MOUNT_OPTIONS: &str = r#".SH "OPTIONS OF THE FILE SYSTEM"
.TP
.B ro
said in so many words. A mount is always \fBro,nosuid,nodev,noatime\fR; without \fBro\fR a warning
says so
.TP
.BR noexec ", " exec
whether programs can be run from it
.TP
.BR allow_other ", " allow_root
let all other users look into it, or root alone
.TP
.BI uid= N\fR,\fP " gid=" N\fR,\fP " umask=" OCTAL
owner, group and permissions that everything is shown with. The kernel checks them
.TP
.BI fsname= NAME
what is shown as the device; the path of the model if not said
.TP
.BI max_read= BYTES
largest request for content
.TP
.B remount
change \fBexec\fR and \fBnoexec\fR of what is mounted; all else stays
.PP
Without effect, as mount(8) and others have use for them:
\fBrw\fR, \fBsuid\fR, \fBdev\fR, \fBatime\fR and the like, \fBauto\fR, \fBnoauto\fR, \fBuser\fR,
\fBusers\fR, \fBowner\fR, \fBgroup\fR, \fBnofail\fR, \fB_netdev\fR, \fBcomment=\fR and all that
begins with \fBx\-\fR. What isn't known is an error.
.SH "EXIT STATUS"
As mount(8) documents it:
.TP
0
mounted
.TP
1
wrong usage, or a wrong option
.TP
32
not mounted; the message says why
.SH EXAMPLES
A line of \fI/etc/fstab\fR:
.PP
.nf
/srv/llm /mnt/llm fuse.model\-fs ro,allow_other,public_key=/etc/model\-fs/signer.pem,nofail 0 0
.fi
.SH "SEE ALSO"
.BR model\-fs\-mount (1),
.BR fstab (5),
.BR mount (8)
"#;

/// All of them, by their paths in this repository.
fn files() -> Files {
    let mut files = Files::new();
    let mut program = Cli::command().version(env!("CARGO_PKG_VERSION"));
    program = program.long_version(None);
    // `help` needs no pages.
    let mut documented = program
        .clone()
        .disable_help_subcommand(true)
        .mut_subcommands(|verb| verb.disable_help_subcommand(true));
    documented.build();
    add_pages(&mut files, &documented);
    let helper = helper_page();
    files.insert(PathBuf::from("docs/man/mount.model-fs.8"), helper);
    for (shell, name) in [
        (Shell::Bash, "model-fs.bash"),
        (Shell::Zsh, "_model-fs"),
        (Shell::Fish, "model-fs.fish"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut program.clone(), "model-fs", &mut script);
        // clap_complete 4.6.12 spells a name with a hyphen in two ways, for bash, and then finds
        // nothing behind a verb.
        let script = utf8(script).replace("model__subcmd__fs", "model__fs");
        files.insert(Path::new("completions").join(name), script);
    }
    files
}

/// Pages of a command and of all beneath it.
fn add_pages(files: &mut Files, command: &Command) {
    let name = command.get_display_name().unwrap_or("model-fs");
    let man = page(command);
    let mut text = Vec::new();
    man.render(&mut text).expect("written to memory");
    let mut text = utf8(text);
    text.push_str(EXIT_STATUS);
    text.push_str(FILES);
    text.push_str(&see_also(command, name));
    files.insert(format!("docs/man/{name}.1").into(), trimmed(&text));
    let verbs = command.get_subcommands();
    verbs.for_each(|verb| add_pages(files, verb));
}

fn page(command: &Command) -> Man {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let command = command.clone().override_usage(usage);
    Man::new(command).manual("model-fs").date("")
}

/// The commands above and beneath.
fn see_also(command: &Command, name: &str) -> String {
    let above = name.rsplit_once('-').map(|(above, _)| above);
    let above = above.filter(|above| above.starts_with("model-fs"));
    let beneath = command.get_subcommands();
    let beneath = beneath.filter_map(|verb| verb.get_display_name());
    let mut names: Vec<(String, u8)> = above
        .into_iter()
        .chain(beneath)
        .map(|name| (roff(name), 1))
        .collect();
    if name == "model-fs" || name == "model-fs-mount" {
        names.push((roff("mount.model-fs"), 8));
    }
    let names = names
        .iter()
        .map(|(name, section)| format!(".BR {name} ({section})"));
    format!(
        ".SH \"SEE ALSO\"\n{}\n",
        names.collect::<Vec<_>>().join(",\n")
    )
}

fn helper_page() -> String {
    let command = HelperArgs::command().version(env!("CARGO_PKG_VERSION"));
    let command = command.after_help(None::<&str>);
    let man = page(&command).section("8");
    let mut text = Vec::new();
    let written = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text));
    written.expect("written to memory");
    text.extend(
        b".SH DESCRIPTION\nmount(8) calls it for the types \\fBfuse.model\\-fs\\fR and \
          \\fBmodel\\-fs\\fR, from the command line and from \\fI/etc/fstab\\fR. It does what \
          model\\-fs\\-mount(1) does, in the background.\n",
    );
    man.render_options_section(&mut text)
        .expect("written to memory");
    let mut text = utf8(text);
    text.push_str(
        ".SH \"OPTIONS AFTER \\-o\"\nEach flag of \\fBmodel\\-fs mount\\fR, with \\fB_\\fR or \
         \\fB\\-\\fR in its name. A value with commas stands in double quotes, or has a backslash \
         before each.\n",
    );
    for (option, value, help) in flag_options() {
        let value = value.map_or_else(String::new, |value| format!("=\\fI{}\\fR", roff(&value)));
        let (option, help) = (roff(&option), roff(&help));
        text.extend([".TP\n\\fB", &option, "\\fR", &value, "\n", &help, "\n"]);
    }
    text.push_str(MOUNT_OPTIONS);
    trimmed(&text)
}

/// A text of one line, as `roff` has it.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.replace('\n', " ")
}

/// Without spaces at the ends of lines.
fn trimmed(text: &str) -> String {
    let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the definition is in UTF-8")
}

#[test]
fn man_pages_and_completions_are_in_step_with_the_command_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = files();
    if cfg!(any(feature = "pkcs11", feature = "sigstore-sign")) {
        // There are more flags then.
        return;
    }
    let kept: Vec<PathBuf> = ["docs/man", "completions"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).into_iter().flatten())
        .map(|entry| entry.expect("list what is kept").path())
        .map(|path| path.strip_prefix(root).expect("it is beneath").to_owned())
        .collect();
    if std::env::var_os("MODEL_FS_BLESS").is_some_and(|value| value == "1") {
        for path in kept.iter().filter(|path| !files.contains_key(*path)) {
            fs::remove_file(root.join(path)).expect("remove what is no longer made");
        }
        for (path, text) in &files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
            fs::write(path, text).expect("write");
        }
        return;
    }
    for (path, text) in &files {
        let found = fs::read_to_string(root.join(path)).unwrap_or_default();
        let path = Escaped::path(path);
        assert!(
            found == *text,
            "{path} is out of step (MODEL_FS_BLESS=1 writes it)"
        );
    }
    for path in kept {
        assert!(
            files.contains_key(&path),
            "nothing makes {}",
            Escaped::path(path)
        );
    }
}
