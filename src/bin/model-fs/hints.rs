//! What the user could do about an error: verbs and flags of this program, and commands of the
//! system.
//!
//! The library says what is wrong, and knows no command line; these functions read its types, one
//! for each kind of error. Guarantees: paths and names are shown as words of a shell command,
//! harmless to a terminal. Doesn't: decide what is a failure, or with which exit code.

use std::error::Error;
use std::io::{self, ErrorKind::PermissionDenied};
use std::path::Path;

use model_fs::kernel::{MountError, MountRefusal, OptionError, UnmountError};
use model_fs::manifest::{VerifyManifestError, VerifyWithStoreError};
use model_fs::model::StoreError;
use model_fs::name::{Escaped, shell_word};
use model_fs::oms::bundle::Method;
use model_fs::oms::certificate::{CertificateError, Moment, PathError};
use model_fs::oms::claim::Claim;
use model_fs::oms::key::KeyError;
#[cfg(feature = "pkcs11")]
use model_fs::oms::pkcs11::{Pkcs11Error, UriError};
use model_fs::oms::sign::SignError;
#[cfg(feature = "sigstore-sign")]
use model_fs::oms::sign::sigstore::SigstoreSigningError;
use model_fs::oms::sigstore::trusted_root::TrustedRootError;
use model_fs::oms::sigstore::{EntryRule, SigstoreError};
use model_fs::oms::trust_store::{FileRule, Problem, TrustStoreError};
use model_fs::oms::verify::VerifyError;
use model_fs::reading::TableStoreError;
use model_fs::reading::location::LocationError;

use crate::system_hints;

/// Where a PIN may come from.
#[cfg(feature = "pkcs11")]
const PIN: &str =
    "give the PIN in a file: --password-file FILE, or pin-source=file:/FILE in the URI";

/// What helps where there is no `/proc`.
const NO_PROC: &str = "mount -t proc proc /proc";

/// What helps where mounting failed.
pub(crate) fn mount(error: &MountError) -> Option<String> {
    Some(match error {
        MountError::Missing { mountpoint } => format!("mkdir -p {}", shell_word(mountpoint)),
        MountError::Dead { mountpoint } | MountError::AlreadyMounted { mountpoint } => {
            format!("model-fs umount {}", shell_word(mountpoint))
        }
        MountError::AnotherModel { mountpoint }
        | MountError::CannotGoOn { mountpoint, .. }
        | MountError::NoNumberLeft { mountpoint } => {
            format!(
                "unmount, and mount again: model-fs umount {}",
                shell_word(mountpoint)
            )
        }
        MountError::DeadInUse { mountpoint, inside } => {
            let (inside, mountpoint) = (shell_word(inside), shell_word(mountpoint));
            format!("umount {inside} && model-fs umount {mountpoint}")
        }
        MountError::Overlap { .. } => "choose an empty directory elsewhere".into(),
        MountError::NoDevice => {
            "on a host, load the module with \"modprobe fuse\"; in a container, pass the device in \
             (--device /dev/fuse)"
                .into()
        }
        MountError::NotTheDevice => {
            "remove what is there, load the module with \"modprobe fuse\" on the host, and pass \
             the device in (--device /dev/fuse), not as a volume"
                .into()
        }
        MountError::Device(error) => device(error),
        MountError::NoProc => NO_PROC.into(),
        MountError::Descriptors(_) => {
            "raise the limit for open files (ulimit -n), or use fewer --threads".into()
        }
        MountError::Thread(_) => {
            "raise the limit for processes (ulimit -u), or use fewer --threads".into()
        }
        MountError::NoHelper => "install the package fuse3, or mount as root".into(),
        MountError::OthersNotAllowed { .. } => {
            "add a line \"user_allow_other\" to /etc/fuse.conf, or mount as root".into()
        }
        MountError::Refused { reason, .. } | MountError::Kernel { reason, .. } => {
            return mount_refusal(*reason).map(str::to_owned);
        }
        MountError::Unusable { source, .. } if source.kind() == PermissionDenied => {
            "this user must be allowed into it and into the directories above; a FUSE mount of \
             another user keeps out root too"
                .into()
        }
        MountError::HelperFailed(error) if error.kind() == PermissionDenied => {
            "let this user run fusermount3 (perhaps by a group), or mount as root".into()
        }
        MountError::NotADirectory { .. } => "name a directory to mount on".into(),
        MountError::Unusable { .. }
        | MountError::HelperFailed(_)
        | MountError::Table(_)
        | MountError::Vanished { .. }
        | MountError::Elsewhere { .. }
        | MountError::Handshake(_)
        | MountError::Interrupted => return None,
    })
}

/// What helps where the FUSE device can't be opened.
fn device(error: &io::Error) -> String {
    // A rule of a control group says `EPERM`, permission bits `EACCES`.
    if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) {
        "a rule for devices forbids it: in a container, pass it in (--device /dev/fuse); in a \
         systemd unit, DeviceAllow=/dev/fuse rw"
    } else {
        "/dev/fuse must be readable and writable for this user (usually mode 0666); in a \
         container, pass it in (--device /dev/fuse)"
    }
    .to_owned()
}

/// What helps where the kernel or its helper refused a mount.
fn mount_refusal(reason: MountRefusal) -> Option<&'static str> {
    Some(match reason {
        MountRefusal::Denied => "the mountpoint must belong to the user who mounts",
        MountRefusal::FileSystem => {
            "choose a directory on an ordinary file system, or mount as root"
        }
        MountRefusal::SecurityModule => {
            "AppArmor or SELinux forbids it (see \"journalctl -k\"): in a container, \
             --security-opt apparmor=unconfined or label=disable; else choose a directory in your \
             home or /mnt"
        }
        MountRefusal::UserNamespace => {
            "in a user namespace, mounting needs root there, a mount namespace (unshare -Urm), and \
             in a container the capability SYS_ADMIN (--cap-add SYS_ADMIN)"
        }
        MountRefusal::NoNewPrivileges => {
            "this process has no_new_privs, so fusermount3 gets no rights: mount from outside, or \
             allow new privileges (systemd: NoNewPrivileges=no; Kubernetes: \
             allowPrivilegeEscalation: true)"
        }
        MountRefusal::NotSetUserId => {
            "fusermount3 needs the set-user-ID bit, on a file system without nosuid: reinstall the \
             package fuse3, or mount as root"
        }
        MountRefusal::NotPermitted => {
            "in a container, mounting needs the capability SYS_ADMIN (--cap-add SYS_ADMIN)"
        }
        MountRefusal::Other => return None,
    })
}

/// What helps where a process couldn't be started.
pub(crate) fn start(error: &io::Error) -> Option<String> {
    (error.kind() == io::ErrorKind::WouldBlock)
        .then(|| "raise the limit for processes (ulimit -u; pids.max of the container)".to_owned())
}

/// What may help where a signal ended a process that is to serve a mount.
pub(crate) fn ended(signal: i32) -> Option<String> {
    use rustix::process::Signal;

    [Signal::KILL, Signal::ABORT]
        .iter()
        .any(|deadly| deadly.as_raw() == signal)
        .then(|| {
            "it may have had too little memory: raise the limit, or give --cache-size 64MiB; if a \
             dead mount is left, `model-fs umount MOUNTPOINT` removes it"
                .to_owned()
        })
}

/// What helps where a key file can't be used.
pub(crate) fn key(error: &KeyError, path: &Path) -> Option<String> {
    let path = shell_word(path);
    Some(match error {
        KeyError::NoPassword => "give its password in a file: --password-file FILE".to_owned(),
        KeyError::WrongPassword => {
            "give the right one with --password-file: the first line of the file is it".to_owned()
        }
        KeyError::TooLarge { .. } => format!("name a key in PEM form: {path} is none"),
        KeyError::Pem | KeyError::Malformed => {
            "copy it anew from where it was made: it is cut or changed".to_owned()
        }
        KeyError::Several(label) => format!("leave one {label} block in the file"),
        KeyError::NotFound { wanted, found } => {
            let found = found.to_string();
            match *wanted {
                _ if found.contains("OPENSSH") => {
                    "keys of OpenSSH aren't taken: make one with openssl ecparam -name prime256v1 \
                     -genkey -noout -out key.pem"
                        .to_owned()
                }
                PUBLIC if found.contains("PRIVATE KEY") => {
                    format!("give the public half: openssl pkey -in {path} -pubout -out pub.pem")
                }
                PUBLIC if found.contains("CERTIFICATE") => {
                    "give certificates with --certificate-chain".to_owned()
                }
                PUBLIC if found.starts_with("no ") => format!(
                    "if it is in DER form: openssl pkey -pubin -inform DER -in {path} -out pub.pem"
                ),
                PRIVATE if found.contains("PUBLIC KEY") => {
                    "give the private half, which only the signer has".to_owned()
                }
                PRIVATE if found.starts_with("no ") => {
                    format!(
                        "if it is in DER form: openssl pkey -inform DER -in {path} -out key.pem"
                    )
                }
                _ => return None,
            }
        }
        KeyError::NotEc(_) | KeyError::UnsupportedCurve(_) | KeyError::UnnamedCurve => {
            "make one with openssl ecparam -name prime256v1 -genkey -noout -out key.pem".to_owned()
        }
        _ => return None,
    })
}

/// What helps where nothing better is known, by the causes of an error.
pub(crate) fn by_cause(error: &anyhow::Error) -> Option<&'static str> {
    let certificate = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<CertificateError>());
    let root = || error.chain().any(<dyn Error>::is::<TrustedRootError>);
    match certificate {
        Some(CertificateError::NotFound { found }) if found.to_string().contains("KEY") => {
            Some("give a key with --public-key, or the certificate that was made for it")
        }
        Some(CertificateError::TooMany { .. }) => Some("give those alone that are trusted"),
        Some(_) => Some("give certificates in PEM form, as they were issued"),
        None if root() => Some("give the trusted_root.json that the instance's operator gives out"),
        None => system_hints::of(error),
    }
}

/// Labels of the PEM blocks that are wanted.
const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";

/// What helps where unmounting failed.
pub(crate) fn unmount(error: &UnmountError) -> Option<String> {
    Some(match error {
        UnmountError::Busy { mountpoint } => {
            let path = shell_word(mountpoint);
            format!("\"fuser -vm {path}\" or \"lsof {path}\" shows who uses it")
        }
        UnmountError::NotOurs { mountpoint, .. } => format!("umount {}", shell_word(mountpoint)),
        UnmountError::NoHelper => "install the package fuse3, or unmount as root".into(),
        UnmountError::Refused { .. } => {
            "only root and the user who mounted it can unmount it".into()
        }
        UnmountError::NotMounted { .. } => WHAT_IS_MOUNTED.into(),
        UnmountError::Path { .. }
        | UnmountError::Table(_)
        | UnmountError::HelperFailed(_)
        | UnmountError::Kernel { .. }
        | UnmountError::Moved { .. }
        | UnmountError::Remains { .. } => return None,
    })
}

/// How to see what is mounted.
pub(crate) const WHAT_IS_MOUNTED: &str = "\"model-fs status\" shows what is mounted";

/// What helps where a mount option can't be.
pub(crate) fn option(error: &OptionError) -> Option<String> {
    matches!(error, OptionError::Weakens { .. }).then(|| "leave it out".to_owned())
}

/// What helps where a model or its signature isn't found.
pub(crate) fn location(error: &LocationError) -> Option<String> {
    match error {
        LocationError::NoSignature { .. } => Some(
            "name the signature with --signature FILE, or sign the model: model-fs sign MODEL \
             --private-key PEM"
                .to_owned(),
        ),
        LocationError::NoProc => Some(NO_PROC.to_owned()),
        LocationError::Several(_) => Some("say which with --signature FILE".to_owned()),
        LocationError::Kind(_) => Some("name a directory, or a file of a model".to_owned()),
        LocationError::Name(_) | LocationError::NotUtf8(_) => Some("rename it".to_owned()),
        LocationError::LargeSignature(_) => {
            Some("name the signature with --signature FILE: this is none".to_owned())
        }
        LocationError::Ignored(_) => {
            Some("give paths in the model, absolute or relative to it".to_owned())
        }
        LocationError::Model { error, .. } | LocationError::Signature { error, .. } => {
            system_hints::of_io(error).map(str::to_owned)
        }
    }
}

/// What helps where there is no store for what is proved.
pub(crate) fn store(error: &StoreError) -> Option<String> {
    match error {
        StoreError::InModel(_)
        | StoreError::Place { .. }
        | StoreError::Unusable(TableStoreError::Io { .. }) => {
            Some("choose another directory with --index-dir".to_owned())
        }
        _ => None,
    }
}

/// What helps where the trust store can't be used or changed.
pub(crate) fn trust_store(error: &TrustStoreError) -> Option<String> {
    match &error.problem {
        Problem::File(FileRule::Writable { .. }) => Some(format!("chmod go-w {}", error.path)),
        Problem::Unknown(_) => Some(who_may_sign()),
        Problem::Exists(name) => Some(format!(
            "choose another --name, or first: model-fs trust remove {name}"
        )),
        Problem::Toml(_) | Problem::Signers { .. } => Some(
            "mend it there; or move the file away, and make it anew with model-fs trust add"
                .to_owned(),
        ),
        Problem::Signer { .. } => Some("mend that entry, or leave it out".to_owned()),
        Problem::Io(error) => system_hints::of_io(error).map(str::to_owned),
        Problem::File(_) => None,
    }
}

/// How to see which signers are trusted.
pub(crate) fn who_may_sign() -> String {
    "`model-fs trust list` shows who may sign".to_owned()
}

/// What helps where no signer of the trust store has signed: the command that would trust the
/// claimed one; or, where one of the store has signed and only time is in the way, the remedy of
/// the one that can be helped best.
pub(crate) fn nobody_trusted(error: &VerifyWithStoreError) -> Option<String> {
    match error {
        VerifyWithStoreError::Nobody { claim, refused } => Some(
            refused
                .iter()
                .rev() // of equals the last one is the greatest
                .filter_map(|(_, error)| Remedy::of(error))
                .max_by_key(|(remedy, _)| *remedy)
                .map_or_else(
                    || format!("to trust them: {}", trust_command(claim)),
                    |(_, hint)| hint,
                ),
        ),
        VerifyWithStoreError::Invalid(error) => signature(error),
        VerifyWithStoreError::OtherModels { .. } => Some(who_may_sign()),
    }
}

/// What helps where the signature of one signer, whom flags name, isn't trusted.
pub(crate) fn signature(error: &VerifyManifestError) -> Option<String> {
    match error {
        VerifyManifestError::Signature(error) => {
            let timely = Remedy::of(error).map(|(_, hint)| hint);
            timely.or_else(|| Some(refused_signature(error).to_owned()))
        }
        VerifyManifestError::Statement(_) | VerifyManifestError::Manifest(_) => {
            Some("have the model signed anew".to_owned())
        }
    }
}

/// What helps where time has no part in it.
fn refused_signature(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Bundle(_) => {
            "copy the signature anew from whoever signed, or name it with --signature FILE"
        }
        VerifyError::Method { found, .. } => match found {
            Method::Key => "if you trust the signer, give their key: --public-key PEM",
            Method::Certificate => {
                "if you trust the signer's authority, give its certificate: --certificate-chain PEM"
            }
            Method::Sigstore => {
                "if you trust the signer, name them: --identity ID --identity-provider URL"
            }
        },
        VerifyError::OtherKey { .. } => {
            "if you trust that key too, give it; else get the model from whom you trust"
        }
        VerifyError::Signature => {
            "the signature was changed, or made with another key: get it anew from the signer"
        }
        VerifyError::Path(_) => {
            "if you trust the authority that issued it, give its certificate: --certificate-chain \
             PEM"
        }
        VerifyError::Certificate(_) | VerifyError::SignerKey { .. } | VerifyError::Sigstore(_) => {
            "have the model signed anew"
        }
    }
}

/// What an operator can do about certificates that are right but for time; the better, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Remedy {
    /// Nothing but another signature: neither a date nor a pin would help.
    Sign,
    /// A pin. The certificates aren't valid yet, and no date in the future is taken.
    Pin,
    /// A pin, or else a date.
    PinOrDate,
    /// An entry without a date: the certificates are valid now.
    NoDate,
}

impl Remedy {
    /// The remedy and its words, entries of the trust store among them, the narrower one first. The
    /// date to choose isn't filled in: that is for the operator to decide.
    fn of(error: &VerifyError) -> Option<(Self, String)> {
        let untimely = match error {
            VerifyError::Path(PathError::Untimely(untimely)) => untimely,
            VerifyError::Path(PathError::Work) => {
                let hint = "have the model signed anew, with no certificates but those of its path";
                return Some((Self::Sign, hint.to_owned()));
            }
            _ => return None,
        };
        let add = "model-fs trust add --name NAME --certificate-chain PEM";
        let pin = format!(
            "if what was signed is known to be good, trust exactly that: {add} --payload-of \
             SIGNATURE"
        );
        let now = match untimely.moment {
            now @ Moment::Now(_) => now.second(),
            Moment::Chosen(_) => Moment::now().second(),
        };
        let Some(together) = untimely.together else {
            return Some((Self::Sign, "have the model signed anew".to_owned()));
        };
        let is_chosen = matches!(untimely.moment, Moment::Chosen(_));
        Some(if now < together.first {
            let clock = format!("look at the clock of this host; or, {pin}");
            (Self::Pin, if is_chosen { pin } else { clock })
        } else if !is_chosen {
            let hint = format!(
                "have the model signed anew; or, {pin}; or have the certificates judged at a date \
                 when all were valid ({together}), which trusts whatever was signed with their \
                 keys since: {add} --valid-at DATE"
            );
            (Self::PinOrDate, hint)
        } else if now <= together.last {
            let hint = format!(
                "the certificates are valid now: trust them in another entry, without valid-at: \
                 {add}"
            );
            (Self::NoDate, hint)
        } else {
            let hint = format!(
                "{pin}; or, in an entry of its own, with a date when all were valid ({together}): \
                 {add} --valid-at DATE"
            );
            (Self::PinOrDate, hint)
        })
    }
}

/// How to get rid of tables in an index store that are no longer believed.
pub(crate) const OLD_TABLES: &str = "`model-fs index --clean` removes them";

/// The command that would trust the claimed signer. Words in capitals are for the user to fill in:
/// a bundle holds neither the key nor the certificate that would have to be trusted, and if it did,
/// it would be that of the author of the bundle.
pub(crate) fn trust_command(claim: &Claim) -> String {
    let how = match claim.method() {
        Method::Key => "--public-key PEM".to_owned(),
        Method::Certificate => "--certificate-chain PEM".to_owned(),
        Method::Sigstore => {
            let claimed = match claim {
                Claim::Sigstore(claimed) => claimed.as_ref(),
                _ => None,
            };
            let word = |text: Option<&String>, placeholder: &str| {
                text.and_then(|text| plain_word(text))
                    .unwrap_or_else(|| placeholder.to_owned())
            };
            let identity = word(claimed.map(|claimed| &claimed.identity), "ID");
            let provider = word(claimed.map(|claimed| &claimed.identity_provider), "URL");
            format!("--identity {identity} --identity-provider {provider}")
        }
    };
    format!("model-fs trust add {how}")
}

/// Hostile text as one word of a shell command, if it can be shown as it is.
fn plain_word(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Some(text.to_owned());
    }
    let harmless = Escaped::bounded(text).to_string() == text;
    harmless.then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

/// Why a signature is refused, and how a file that it asks for would be given.
pub(crate) fn refusal(error: &VerifyError) -> String {
    format!("{error}{}", how_given(error))
}

/// The same of a signature that was to be checked against one signer.
pub(crate) fn refused(error: VerifyManifestError) -> anyhow::Error {
    match &error {
        VerifyManifestError::Signature(signature) if !how_given(signature).is_empty() => {
            anyhow::Error::msg(refusal(signature))
        }
        _ => error.into(),
    }
}

/// What helps where signing failed.
pub(crate) fn signing(error: &SignError) -> Option<String> {
    matches!(error, SignError::TooLarge { .. })
        .then(|| "sign with --plain: it says less about each file".to_owned())
}

/// Why a model isn't signed: what Sigstore's services made is verified before it is kept.
pub(crate) fn not_signed(error: SignError) -> anyhow::Error {
    match &error {
        #[cfg(feature = "sigstore-sign")]
        SignError::Sigstore(SigstoreSigningError::NotVerified(refused))
            if !how_given(refused).is_empty() =>
        {
            anyhow::Error::msg(format!("{error}{}", how_given(refused)))
        }
        _ => error.into(),
    }
}

/// Goes on where the message ends, which names a file that the user may have.
fn how_given(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Sigstore(SigstoreError::Entry(EntryRule::NewerLog { .. })) => {
            ", given with --trust-config"
        }
        _ => "",
    }
}

/// What the user could do about a key on a token that can't be used.
#[cfg(feature = "pkcs11")]
pub(crate) fn pkcs11(error: &Pkcs11Error) -> Option<String> {
    let hint = match error {
        Pkcs11Error::NoModule | Pkcs11Error::ModuleNotFound { .. } => {
            "name the module's file with --pkcs11-module PATH, or with module-path in the URI"
        }
        Pkcs11Error::TwoModules => "leave out --pkcs11-module, or module-path and module-name",
        Pkcs11Error::NoPin(_) => PIN,
        Pkcs11Error::Tokens { .. } => "say which with token=, serial= or slot-id= in the URI",
        Pkcs11Error::Keys { .. } => "say which with object= and id= in the URI",
        Pkcs11Error::NoPublicKey(_) => {
            "sign with a certificate of the key (--signing-certificate), or put its public key on \
             the token"
        }
        Pkcs11Error::Module { .. }
        | Pkcs11Error::Modules { .. }
        | Pkcs11Error::NoToken { .. }
        | Pkcs11Error::WrongPin(_)
        | Pkcs11Error::PinLocked(_)
        | Pkcs11Error::NoKey { .. }
        | Pkcs11Error::NotEc(_)
        | Pkcs11Error::AlwaysAuthenticate(_)
        | Pkcs11Error::PublicKeys(_)
        | Pkcs11Error::PublicKey { .. }
        | Pkcs11Error::Failed { .. } => return None,
    };
    Some(hint.to_owned())
}

/// What the user could do about a URI that names no key on a token.
#[cfg(feature = "pkcs11")]
pub(crate) fn pkcs11_uri(error: &UriError) -> Option<String> {
    (*error == UriError::PinValue).then(|| PIN.to_owned())
}

#[cfg(test)]
mod tests {
    use model_fs::oms::certificate::{Span, Untimely, ValidAt};
    use model_fs::oms::sigstore::ClaimedIdentity;
    use model_fs::oms::trust_store::SignerName;

    use super::*;

    #[test]
    fn the_command_that_would_trust_a_claim() {
        let key = Claim::Key {
            hint: Some(Escaped::new("ab")),
        };
        let certificate = Claim::Certificate {
            leaf: None,
            issuer: None,
        };
        let identity = |identity: &str| {
            Claim::Sigstore(Some(ClaimedIdentity {
                identity: identity.to_owned(),
                identity_provider: "https://accounts.example".to_owned(),
            }))
        };
        for (claim, how) in [
            (key, "--public-key PEM"),
            (certificate, "--certificate-chain PEM"),
            (
                Claim::Sigstore(None),
                "--identity ID --identity-provider URL",
            ),
            (
                identity("alice@acme.example"),
                "--identity alice@acme.example --identity-provider https://accounts.example",
            ),
            (
                identity("it's; $HOME"),
                r"--identity 'it'\''s; $HOME' --identity-provider https://accounts.example",
            ),
            (
                identity("\u{202e}"),
                "--identity ID --identity-provider https://accounts.example",
            ),
        ] {
            assert_eq!(trust_command(&claim), format!("model-fs trust add {how}"));
        }
    }

    #[test]
    fn a_newer_trusted_root_is_given_with_a_flag() {
        let id = "ab".to_owned();
        let newer = VerifyError::Sigstore(SigstoreError::Entry(EntryRule::NewerLog { id }));
        let said = refusal(&newer);
        assert!(
            said.ends_with("trusted_root.json, given with --trust-config"),
            "{said}"
        );
        assert_eq!(refused(newer.into()).to_string(), said);
        let other = VerifyError::Signature;
        assert_eq!(refusal(&other), other.to_string());
        assert_eq!(
            refused(other.into()).to_string(),
            refusal(&VerifyError::Signature)
        );
    }

    /// An error about certificates that are valid together from one day to another, before or after
    /// now.
    fn untimely(moment: Moment, together: Option<(i64, i64)>) -> VerifyError {
        let now = Moment::now().second();
        let day = |offset: i64| now.checked_add_signed(offset * 86_400).unwrap();
        let together = together.map(|(first, last)| Span {
            first: day(first),
            last: day(last),
        });
        VerifyError::from(PathError::Untimely(Box::new(Untimely {
            subject: Escaped::new("CN=a"),
            from: "2025-01-01T00:00:00Z".to_owned(),
            to: "2025-02-01T00:00:00Z".to_owned(),
            is_early: together.is_some_and(|span| span.first > moment.second()),
            is_never: false,
            together,
            moment,
        })))
    }

    /// The hint where these were refused.
    fn hint_of(errors: &[VerifyError]) -> String {
        let signer = |error: &VerifyError| (SignerName::new("acme").unwrap(), error.clone());
        let claim = Box::new(Claim::Key { hint: None });
        let refused = errors.iter().map(signer).collect();
        nobody_trusted(&VerifyWithStoreError::Nobody { claim, refused }).unwrap()
    }

    #[test]
    fn what_waives_time_is_an_entry_of_the_trust_store() {
        let add = "model-fs trust add --name NAME --certificate-chain PEM";
        let (pin, date) = (" --payload-of SIGNATURE", " --valid-at DATE");
        let now = Moment::now();
        let chosen = Moment::from("2024-01-01".parse::<ValidAt>().unwrap());
        for (moment, together, has_pin, has_date, begins) in [
            (now, Some((-20, -10)), true, true, "have the model signed"),
            (now, Some((10, 20)), true, false, "look at the clock"),
            (now, None, false, false, "have the model signed anew"),
            (chosen, Some((-20, -10)), true, true, "if what was signed"),
            (chosen, Some((10, 20)), true, false, "if what was signed"),
            (
                chosen,
                Some((-20, 10)),
                false,
                false,
                "the certificates are",
            ),
            (chosen, None, false, false, "have the model signed anew"),
        ] {
            let error = untimely(moment, together);
            let hint = hint_of(&[VerifyError::Signature, error.clone()]);
            assert_eq!(signature(&error.clone().into()).as_ref(), Some(&hint));
            assert!(hint.starts_with(begins), "{hint}");
            assert_eq!(hint.contains(add), together.is_some(), "{hint}");
            assert_eq!(hint.contains(pin), has_pin, "{hint}");
            assert_eq!(hint.contains(date), has_date, "{hint}");
            // A pin comes before a date, and a date is one that would be taken.
            assert!(!has_date || hint.find(pin) < hint.find(date), "{hint}");
            let VerifyError::Path(PathError::Untimely(untimely)) = error else {
                panic!()
            };
            if let Some(together) = untimely.together {
                let window = format!("all were valid ({together})");
                assert_eq!(hint.contains(&window), has_date, "{hint}");
                assert!(!has_date || together.last < now.second());
            }
        }
        let anew = signature(&VerifyError::Signature.into()).unwrap();
        assert!(anew.contains("from the signer"), "{anew}");
        let work = hint_of(&[PathError::Work.into()]);
        assert!(!work.contains("trust add"), "{work}");
    }

    #[test]
    fn of_several_signers_the_one_is_helped_that_can_be() {
        let now = Moment::now();
        let chosen = Moment::from("2024-01-01".parse::<ValidAt>().unwrap());
        let worst_first = [
            PathError::Work.into(),
            untimely(now, Some((10, 20))),
            untimely(now, Some((-20, -10))),
            untimely(chosen, Some((-20, 10))),
        ];
        for (index, better) in worst_first.iter().enumerate() {
            for worse in &worst_first[..index] {
                let expected = hint_of(std::slice::from_ref(better));
                assert_eq!(hint_of(&[worse.clone(), better.clone()]), expected);
                assert_eq!(hint_of(&[better.clone(), worse.clone()]), expected);
            }
        }
        // Of equals it is the first.
        let first = untimely(now, Some((-20, -10)));
        let both = [first.clone(), untimely(now, Some((-40, -30)))];
        assert_eq!(hint_of(&both), hint_of(&[first]));
        let never = [untimely(now, None), untimely(now, Some((-20, -10)))];
        assert!(hint_of(&never).contains("--payload-of"));
    }

    #[test]
    fn hints_are_commands_with_the_path_as_one_word() {
        let mountpoint = std::path::PathBuf::from("/mnt/mount point");
        let missing = MountError::Missing {
            mountpoint: mountpoint.clone(),
        };
        assert_eq!(mount(&missing).unwrap(), "mkdir -p '/mnt/mount point'");
        for error in [
            MountError::AlreadyMounted {
                mountpoint: mountpoint.clone(),
            },
            MountError::Dead {
                mountpoint: mountpoint.clone(),
            },
        ] {
            let hint = mount(&error).unwrap();
            assert_eq!(hint, "model-fs umount '/mnt/mount point'");
        }
        let busy = UnmountError::Busy { mountpoint };
        assert!(
            unmount(&busy)
                .unwrap()
                .contains("lsof '/mnt/mount point'\"")
        );
    }

    #[test]
    fn what_is_refused_is_told_apart() {
        for (reason, word) in [
            (MountRefusal::Denied, "must belong"),
            (MountRefusal::FileSystem, "ordinary file system"),
            (MountRefusal::SecurityModule, "apparmor=unconfined"),
            (MountRefusal::UserNamespace, "unshare -Urm"),
            (MountRefusal::NoNewPrivileges, "NoNewPrivileges=no"),
            (MountRefusal::NotSetUserId, "set-user-ID"),
            (MountRefusal::NotPermitted, "SYS_ADMIN"),
        ] {
            let mountpoint = std::path::PathBuf::from("/mnt");
            let kernel = MountError::Kernel {
                mountpoint: mountpoint.clone(),
                source: io::Error::other("no"),
                reason,
            };
            let helper = MountError::Refused {
                mountpoint,
                message: "no".to_owned(),
                reason,
            };
            assert!(mount(&kernel).unwrap().contains(word));
            assert_eq!(mount(&kernel), mount(&helper));
        }
        assert_eq!(mount_refusal(MountRefusal::Other), None);
    }

    #[test]
    fn a_rule_for_devices_is_told_from_permission_bits() {
        let hint = |errno: i32| {
            let error = MountError::Device(io::Error::from_raw_os_error(errno));
            mount(&error).unwrap()
        };
        assert!(hint(1).contains("DeviceAllow"), "EPERM");
        assert!(hint(13).contains("0666"), "EACCES");
    }
}
