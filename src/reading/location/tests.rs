//! Finding models and signatures.

use std::path::Path;

use super::{LocationError, ModelLocation};
use crate::files::Directory;
use crate::name::FileName;
use crate::reading::source::Links;

#[test]
fn finds_signatures_where_they_usually_are() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let model = dir.join("m");
    std::fs::create_dir(&model).unwrap();
    let found = ModelLocation::find(&model, None).unwrap();
    assert_eq!(found.signature(), model.join("model.sig"));
    assert_eq!(
        found.mounted_signature_name().unwrap().as_str(),
        "model.sig"
    );
    std::fs::write(dir.join("model.sig"), b"").unwrap();
    let found = ModelLocation::find(&model, None).unwrap();
    assert_eq!(found.signature(), dir.join("model.sig"));
    assert_eq!(found.signature_to_ignore(), None);
    // What lies beside may be another model's.
    let to_sign = ModelLocation::find_to_sign(&model, None).unwrap();
    assert_eq!(to_sign.signature(), model.join("model.sig"));
    std::fs::write(model.join("model.sig"), b"").unwrap();
    let found = ModelLocation::find(&model, None).unwrap();
    assert_eq!(found.signature(), model.join("model.sig"));

    let file = model.join("weights.gguf");
    std::fs::write(&file, b"x").unwrap();
    let found = ModelLocation::find(&file, None).unwrap();
    assert_eq!(found.signature(), model.join("weights.gguf.sig"));
    assert_eq!(found.model_name(), "weights.gguf");
    assert!(matches!(
        ModelLocation::find(&dir.join("nothing"), None),
        Err(LocationError::Model { .. })
    ));
    assert!(matches!(
        ModelLocation::find(Path::new("/dev/null"), None),
        Err(LocationError::Kind(_))
    ));
}

#[test]
fn finds_published_signatures_and_does_not_guess_among_several() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let model = dir.join("skill");
    std::fs::create_dir_all(model.join("sub")).unwrap();
    let find = || ModelLocation::find(&model, None);
    std::fs::write(model.join("sub/other.oms.sig"), b"").unwrap();
    std::fs::write(dir.join("skill.sig"), b"").unwrap();
    let found = find().unwrap();
    assert_eq!(found.signature(), dir.join("skill.sig"));
    assert_eq!(found.signature_to_ignore(), None);
    std::fs::write(dir.join("model.sig"), b"").unwrap();
    let Err(LocationError::Several(paths)) = find() else {
        panic!("one of two was chosen");
    };
    assert_eq!(paths, [dir.join("model.sig"), dir.join("skill.sig")]);

    let namesake = dir.join("model");
    std::fs::create_dir(&namesake).unwrap();
    let found = ModelLocation::find(&namesake, None).unwrap();
    assert_eq!(found.signature(), dir.join("model.sig"));

    // Nor does one inside take the place of one beside.
    std::fs::write(model.join("skill.oms.sig"), b"x").unwrap();
    std::fs::remove_file(dir.join("model.sig")).unwrap();
    assert!(matches!(find(), Err(LocationError::Several(paths)) if paths.len() == 2));
    std::fs::remove_file(dir.join("skill.sig")).unwrap();
    let found = find().unwrap();
    assert_eq!(found.signature(), model.join("skill.oms.sig"));
    assert_eq!(
        found.mounted_signature_name().unwrap().as_str(),
        "skill.oms.sig"
    );
    assert_eq!(&*found.read_signature().unwrap(), b"x");
    // It is no content of the model.
    let directory = found.open(Links::Refuse).unwrap();
    let scan = found.scan_to_sign(&directory, &[]).unwrap();
    let names: Vec<_> = scan.entries.keys().map(FileName::as_str).collect();
    assert_eq!(names, ["sub/other.oms.sig"]);

    std::fs::write(model.join("a.oms.sig"), b"").unwrap();
    let several = find().unwrap_err();
    assert!(
        several.to_string().contains("/a.oms.sig, ")
            && several.to_string().contains("/skill.oms.sig"),
        "{several}"
    );
    std::fs::write(model.join("model.sig"), b"").unwrap();
    assert_eq!(find().unwrap().signature(), model.join("model.sig"));
    let given = ModelLocation::find(&model, Some(&model.join("a.oms.sig"))).unwrap();
    assert_eq!(given.signature(), model.join("a.oms.sig"));
}

#[test]
fn a_model_is_found_once() {
    use std::os::unix::fs::symlink;

    use crate::reading::source::{Caching, Source as _};

    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    for (folder, content) in [("old", "old"), ("new", "new")] {
        std::fs::create_dir(dir.join(folder)).unwrap();
        std::fs::write(dir.join(folder).join("f"), content).unwrap();
    }
    symlink("old", dir.join("m")).unwrap();
    symlink("old/f", dir.join("link")).unwrap();
    let directory = ModelLocation::find(&dir.join("m"), None).unwrap();
    let file = ModelLocation::find(&dir.join("link"), None).unwrap();
    for (link, target) in [("m", "new"), ("link", "new/f")] {
        std::fs::remove_file(dir.join(link)).unwrap();
        symlink(target, dir.join(link)).unwrap();
    }
    assert_eq!(directory.resolved(), dir.join("old"));
    assert_eq!(file.resolved(), dir.join("old/f"));
    assert_eq!(file.path(), dir.join("link"));
    let read = |location: &ModelLocation, file: &str, links| {
        let name = FileName::new(file).unwrap();
        let opened = location.open(links).unwrap().open(&name)?;
        let mut bytes = [0; 3];
        opened.read_at(&mut bytes, 0, Caching::Keep)?;
        Ok::<_, crate::reading::SourceError>(bytes)
    };
    assert_eq!(&read(&directory, "f", Links::Refuse).unwrap(), b"old");
    assert_eq!(&read(&file, "link", Links::Follow).unwrap(), b"old");
    // A link is none of the files that are signed, unless links are.
    assert!(read(&file, "link", Links::Refuse).is_err());

    // No link in place of what was found, and none to itself by another name.
    std::fs::remove_file(dir.join("old/f")).unwrap();
    symlink("../new/f", dir.join("old/f")).unwrap();
    for links in [Links::Follow, Links::Refuse] {
        assert!(read(&file, "link", links).is_err());
    }
    std::fs::remove_file(dir.join("old/f")).unwrap();
    std::fs::write(dir.join("old/f"), "ren").unwrap();
    assert_eq!(&read(&file, "link", Links::Follow).unwrap(), b"ren");
}

#[test]
fn a_directory_lies_in_a_model_by_whatever_path() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("m");
    std::fs::create_dir_all(model.join("sub")).unwrap();
    std::fs::create_dir(dir.path().join("beside")).unwrap();
    std::fs::write(model.join("f"), "x").unwrap();
    std::os::unix::fs::symlink(model.join("sub"), dir.path().join("link")).unwrap();
    let contains = |model: &Path, path: &str| {
        let location = ModelLocation::find(model, None).unwrap();
        let directory = Directory::open(&dir.path().join(path)).unwrap();
        location.contains(&directory).unwrap()
    };
    for (path, inside) in [
        ("m", true),
        ("m/sub", true),
        ("link", true),
        ("beside/../m/sub", true),
        ("beside", false),
        ("m/..", false),
    ] {
        assert_eq!(contains(&model, path), inside, "{path}");
        assert!(!contains(&model.join("f"), path), "{path}, of a file");
    }
}

#[test]
fn ignored_paths_are_absolute_or_relative_to_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = ModelLocation::find(dir.path(), None).unwrap();
    let names = |path: &Path| {
        let names = model.ignored(&[path.to_owned()]).ok()?;
        Some(names[0].as_str().to_owned())
    };
    assert_eq!(names(Path::new("a/b")).as_deref(), Some("a/b"));
    assert_eq!(names(Path::new("./a/./b/")).as_deref(), Some("a/b"));
    assert_eq!(names(&dir.path().join("c")).as_deref(), Some("c"));
    for outside in ["..", "../x", "a/../../x", "/etc", "."] {
        assert_eq!(names(Path::new(outside)), None, "{outside}");
    }
}
