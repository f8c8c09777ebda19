//! Modules: the vendor's library, which is loaded into this process.

use std::fs;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error as CryptokiError;

use super::error::{Pkcs11Error, list, said};
use super::uri::Pkcs11Uri;
use crate::name::Escaped;

/// Where modules are looked for that a URI only names: of Debian, Fedora and Arch.
pub const MODULE_DIRECTORIES: &[&str] = &[
    "/usr/lib64/pkcs11",
    "/usr/lib/pkcs11",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu/pkcs11",
];

/// A loaded module.
pub(super) struct Module(pub(super) Pkcs11);

impl Module {
    pub(super) fn load(path: &Path) -> Result<Self, Pkcs11Error> {
        let unusable = |reason: &CryptokiError| Pkcs11Error::Module {
            path: shown_path(path),
            reason: said(reason),
        };
        let module = Pkcs11::new(path).map_err(|error| unusable(&error))?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| unusable(&error))?;
        Ok(Self(module))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // Nothing is left to do about an error: the signature is made, or isn't.
        let _ = self.0.clone().finalize();
    }
}

/// The file to load, by its real path.
pub(super) fn module_path(uri: &Pkcs11Uri, given: Option<&Path>) -> Result<PathBuf, Pkcs11Error> {
    let path = match (given, uri.module_path(), uri.module_name()) {
        (Some(_), None, None) | (None, Some(_), None) => given.or(uri.module_path()),
        (None, None, None) => return Err(Pkcs11Error::NoModule),
        (Some(_), _, _) => return Err(Pkcs11Error::TwoModules),
        (None, Some(path), Some(_)) if !path.is_dir() => Some(path),
        (None, Some(directory), Some(name)) => return named_module(name, &[directory]),
        (None, None, Some(name)) => {
            return named_module(
                name,
                &MODULE_DIRECTORIES.iter().map(Path::new).collect::<Vec<_>>(),
            );
        }
    };
    let path = path.ok_or(Pkcs11Error::NoModule)?;
    let unusable = |reason: &str| Pkcs11Error::Module {
        path: shown_path(path),
        reason: Escaped::bounded(reason),
    };
    // The linker would search its own directories for a name without a slash.
    let real = path
        .canonicalize()
        .map_err(|error| unusable(&error.to_string()))?;
    if !real.is_file() {
        return Err(unusable("it is not a regular file"));
    }
    Ok(real)
}

/// The one module of a name in some directories: `NAME.so` or `libNAME.so`, in any case of letters.
fn named_module(name: &str, directories: &[&Path]) -> Result<PathBuf, Pkcs11Error> {
    let mut found: Vec<PathBuf> = Vec::new();
    // A directory that isn't there has no module.
    for entry in directories
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
    {
        let is_named = entry.file_name().to_str().is_some_and(|file| {
            let file = file.to_lowercase();
            let name = name.to_lowercase();
            file.strip_suffix(".so")
                .is_some_and(|stem| stem == name || stem.strip_prefix("lib") == Some(&name))
        });
        if is_named
            && let Ok(path) = entry.path().canonicalize()
            && path.is_file()
            && !found.contains(&path)
        {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Pkcs11Error::ModuleNotFound {
            name: Escaped::bounded(name),
            directories: list(directories.iter().map(|path| path.to_string_lossy())),
        }),
        _ => Err(Pkcs11Error::Modules {
            name: Escaped::bounded(name),
            found: list(found.iter().map(|path| path.to_string_lossy())),
        }),
    }
}

fn shown_path(path: &Path) -> Escaped {
    Escaped::bounded(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "libsofthsm2.so",
            "Other.so",
            "other.txt",
            "lib.so",
            "two.so",
            "libtwo.so",
        ] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::create_dir(folder.path().join("folder.so")).unwrap();
        let missing = folder.path().join("missing");
        let find = |name: &str| named_module(name, &[&missing, folder.path()]);
        for (name, file) in [
            ("softhsm2", "libsofthsm2.so"),
            ("LibSoftHSM2", "libsofthsm2.so"),
            ("other", "Other.so"),
        ] {
            assert_eq!(find(name).unwrap().file_name().unwrap(), file, "{name}");
        }
        for name in ["soft", "softhsm2.so", "folder", "libother", "*"] {
            assert!(
                matches!(find(name), Err(Pkcs11Error::ModuleNotFound { .. })),
                "{name}"
            );
        }
        assert!(matches!(find("two"), Err(Pkcs11Error::Modules { .. })));
    }

    #[test]
    fn a_module_is_named_once() {
        let path = |uri: &str, given: Option<&Path>| {
            module_path(&Pkcs11Uri::parse(uri).unwrap(), given).unwrap_err()
        };
        let given = Some(Path::new("/m.so"));
        assert_eq!(path("pkcs11:object=k", None), Pkcs11Error::NoModule);
        for uri in [
            "pkcs11:object=k?module-path=/m.so",
            "pkcs11:object=k?module-name=m",
        ] {
            assert_eq!(path(uri, given), Pkcs11Error::TwoModules, "{uri}");
        }
        for given in ["/nonexistent/m.so", "/", "m.so"] {
            let error = path("pkcs11:object=k", Some(Path::new(given)));
            assert!(matches!(error, Pkcs11Error::Module { .. }), "{error}");
        }
    }
}
