//! Paths of certificates, found here and by OpenSSL.
//!
//! Every shape goes through `openssl verify -partial_chain` too, and both must agree; where we
//! differ on purpose, the shape says why. And whenever a path is found here, OpenSSL is asked about
//! the certificates of that path alone. Without the `openssl` program the shapes are judged by what
//! is written here, and the tests say so.

use std::fs;
use std::process::Command;
use std::slice::from_ref;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use model_fs::oms::certificate::chain::{MAX_PATH, Path, PathError};
use model_fs::oms::certificate::{Anchors, Certificate, CertificateError, Moment, ValidAt};
use test_support::missing::{Need, have};
use test_support::pki::{DAY, Key, Scheme, Spec, moment, now, pem_file, seconds};
use x509_cert::Version;
use x509_cert::der::flagset::FlagSet;
use x509_cert::ext::pkix::KeyUsages;

/// Keys of P-256 to make shapes of.
static KEYS: LazyLock<Vec<Key>> =
    LazyLock::new(|| (0..32).map(|_| Key::new(Scheme::P256(256))).collect());

fn key(index: usize) -> &'static Key {
    &KEYS[index]
}

/// What must become of a shape.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// Both find a path.
    Good,
    /// Neither does.
    Bad,
    /// Only we refuse it, for this reason.
    Stricter(&'static str),
    /// Only we accept it, for this reason.
    Wider(&'static str),
    /// Only we find the path, for this reason; OpenSSL confirms it.
    Finds(&'static str),
}

struct Shape {
    name: String,
    leaf: Vec<u8>,
    others: Vec<Vec<u8>>,
    anchors: Vec<Vec<u8>>,
    expect: Expect,
}

impl Shape {
    fn new(
        name: impl Into<String>,
        expect: Expect,
        leaf: &Spec<'_>,
        others: &[Spec<'_>],
        anchors: &[Spec<'_>],
    ) -> Self {
        Self {
            name: name.into(),
            leaf: leaf.der(),
            others: others.iter().map(Spec::der).collect(),
            anchors: anchors.iter().map(Spec::der).collect(),
            expect,
        }
    }

    /// With the leaf itself among the anchors. (Made anew it would have another signature.)
    fn leaf_trusted(mut self) -> Self {
        self.anchors.push(self.leaf.clone());
        self
    }

    fn find(&self) -> Result<Path, PathError> {
        self.find_at(now())
    }

    fn find_at(&self, moment: impl Into<Moment>) -> Result<Path, PathError> {
        let decode = |der: &Vec<u8>| Certificate::from_der(der).unwrap();
        let others: Vec<_> = self.others.iter().map(decode).collect();
        let anchors = Anchors::new(self.anchors.iter().map(decode).collect()).unwrap();
        Path::find(&decode(&self.leaf), &others, &anchors, moment)
    }
}

/// OpenSSL's verdicts.
struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    fn new() -> Option<Self> {
        have(Need::OpenSsl).then(|| Self(tempfile::tempdir().unwrap()))
    }

    fn verify(&self, leaf: &[u8], others: &[&[u8]], anchors: &[&[u8]], partial: bool) -> bool {
        self.verify_at(0, leaf, others, anchors, partial)
    }

    /// Seconds from now.
    fn verify_at(
        &self,
        offset: i64,
        leaf: &[u8],
        others: &[&[u8]],
        anchors: &[&[u8]],
        partial: bool,
    ) -> bool {
        let at = i64::try_from(seconds(now())).unwrap() + offset;
        let file = |name: &str, certificates: &[&[u8]]| {
            let path = self.0.path().join(name);
            fs::write(&path, pem_file(certificates.iter().copied())).unwrap();
            path
        };
        let mut command = Command::new("openssl");
        command
            .args(["verify", "-no-CApath", "-no-CAstore", "-attime"])
            .arg(at.to_string())
            .arg("-CAfile")
            .arg(file("anchors.pem", anchors));
        if partial {
            command.arg("-partial_chain");
        }
        if !others.is_empty() {
            command.arg("-untrusted").arg(file("others.pem", others));
        }
        let output = command.arg(file("leaf.pem", &[leaf])).output().unwrap();
        output.status.success()
    }

    fn judge(&self, shape: &Shape, partial: bool) -> bool {
        self.judge_at(0, shape, partial)
    }

    fn judge_at(&self, offset: i64, shape: &Shape, partial: bool) -> bool {
        let others: Vec<_> = shape.others.iter().map(Vec::as_slice).collect();
        let anchors: Vec<_> = shape.anchors.iter().map(Vec::as_slice).collect();
        self.verify_at(offset, &shape.leaf, &others, &anchors, partial)
    }

    /// Whether it believes a path by itself.
    fn confirms(&self, path: &Path) -> bool {
        let der: Vec<_> = path.certificates().iter().map(Certificate::der).collect();
        let (anchor, rest) = der.split_last().unwrap();
        match rest.split_first() {
            Some((leaf, others)) => self.verify(leaf, others, &[anchor], true),
            None => self.verify(anchor, &[], &[anchor], true),
        }
    }
}

fn judge_all(shapes: &[Shape]) {
    let openssl = OpenSsl::new();
    let mut wrong = Vec::new();
    for shape in shapes {
        let found = shape.find();
        let (ours, theirs) = match shape.expect {
            Expect::Good => (true, true),
            Expect::Bad => (false, false),
            Expect::Stricter(_) => (false, true),
            Expect::Wider(_) | Expect::Finds(_) => (true, false),
        };
        match shape.expect {
            Expect::Good | Expect::Bad => {}
            Expect::Stricter(reason) => eprintln!("only we refuse {}: {reason}", shape.name),
            Expect::Wider(reason) => eprintln!("only we accept {}: {reason}", shape.name),
            Expect::Finds(reason) => eprintln!("only we find {}: {reason}", shape.name),
        }
        if found.is_ok() != ours {
            wrong.push(format!("{}: found {found:?}", shape.name));
        }
        let Some(openssl) = &openssl else { continue };
        if openssl.judge(shape, true) != theirs {
            wrong.push(format!("{}: openssl says {}", shape.name, !theirs));
        }
        if let Ok(path) = &found
            && !matches!(shape.expect, Expect::Wider(_))
            && !openssl.confirms(path)
        {
            wrong.push(format!("{}: openssl refuses the path {path:?}", shape.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `count` authorities beneath a root, each under the one before; the leaf's issuer comes last.
fn line(count: usize) -> Vec<Spec<'static>> {
    let mut line = vec![Spec::root("root", key(0))];
    for index in 1..=count {
        let above = if index == 1 {
            "root".into()
        } else {
            format!("ca {}", index - 1)
        };
        line.push(Spec::authority(
            &format!("ca {index}"),
            key(index),
            &above,
            key(index - 1),
        ));
    }
    line
}

fn leaf_under(line: &[Spec<'static>]) -> Spec<'static> {
    let issuer = line.last().unwrap();
    Spec::leaf("leaf", key(31), &issuer.subject, issuer.key)
}

/// A root, two authorities and a leaf, with one of the four changed.
fn changed(
    name: &str,
    expect: Expect,
    which: usize,
    change: impl FnOnce(&mut Spec<'static>),
) -> Shape {
    let mut line = line(2);
    line.push(leaf_under(&line));
    change(&mut line[which]);
    let place = ["root", "upper", "lower", "leaf"][which];
    Shape::new(
        format!("{name}, {place}"),
        expect,
        &line[3],
        &line[1..3],
        &line[..1],
    )
}

#[test]
#[allow(clippy::too_many_lines)] // a list
fn shapes() {
    use Expect::{Bad, Finds, Good, Stricter, Wider};
    let mut shapes = Vec::new();

    for count in 0..MAX_PATH + 2 {
        let line = line(count);
        let expect = if count + 2 <= MAX_PATH {
            Good
        } else {
            Stricter("paths are bounded")
        };
        let leaf = leaf_under(&line);
        shapes.push(Shape::new(
            format!("{count} between"),
            expect,
            &leaf,
            &line[1..],
            &line[..1],
        ));
        let reversed: Vec<_> = line[1..].iter().rev().cloned().collect();
        shapes.push(Shape::new(
            format!("{count} reversed"),
            expect,
            &leaf,
            &reversed,
            &line[..1],
        ));
        // The root again among the others, everything twice, and strangers.
        let mut more = [&line[..], &line[..]].concat();
        more.push(Spec::root("stranger", key(20)));
        more.push(Spec::authority("root", key(21), "stranger", key(20)));
        shapes.push(Shape::new(
            format!("{count} with strays"),
            expect,
            &leaf,
            &more,
            &line[..1],
        ));
        if count > 0 {
            let last = line.len() - 1;
            let missing = &line[1..last];
            shapes.push(Shape::new(
                format!("{count}, lowest missing"),
                Bad,
                &leaf,
                missing,
                &line[..1],
            ));
            shapes.push(Shape::new(
                format!("{count}, wrong root"),
                Bad,
                &leaf,
                &line[1..],
                &[Spec::root("root", key(22))],
            ));
            let partial = &line[last..];
            shapes.push(Shape::new(
                format!("{count}, issuer trusted"),
                Good,
                &leaf,
                &[],
                partial,
            ));
        }
    }

    for which in 0..4 {
        let valid = |from, to| move |spec: &mut Spec<'static>| spec.valid = (from, to);
        shapes.push(changed("expired", Bad, which, valid(-2 * DAY, -1)));
        shapes.push(changed("not yet valid", Bad, which, valid(1, DAY)));
        shapes.push(changed("valid from now", Good, which, valid(0, DAY)));
        shapes.push(changed(
            "valid for a second more",
            Good,
            which,
            valid(-DAY, 1),
        ));
        shapes.push(changed(
            "valid to now",
            Wider("the last second belongs to it (RFC 5280, section 4.1.2.5)"),
            which,
            valid(-DAY, 0),
        ));
        let extra = |oid, critical| {
            move |spec: &mut Spec<'static>| spec.extra = vec![(oid, critical, vec![5, 0])]
        };
        shapes.push(changed(
            "unknown critical extension",
            Bad,
            which,
            extra("1.2.3.4", true),
        ));
        shapes.push(changed(
            "unknown extension",
            Good,
            which,
            extra("1.2.3.4", false),
        ));
        shapes.push(changed(
            "flipped signature",
            if which == 0 { Good } else { Bad },
            which,
            |spec| {
                spec.flip_signature = true;
            },
        ));
        shapes.push(changed(
            "another issuer's signature",
            if which == 0 { Good } else { Bad },
            which,
            |spec| {
                spec.issuer_key = key(25);
            },
        ));
        shapes.push(changed("critical policies", Good, which, |spec| {
            // One policy, 1.2.3.
            spec.extra = vec![("2.5.29.32", true, vec![0x30, 6, 0x30, 4, 6, 2, 0x2a, 3])];
        }));
        shapes.push(changed(
            "critical policy constraints",
            Stricter("policies are not evaluated, so no certificate may depend on it"),
            which,
            |spec| spec.extra = vec![("2.5.29.36", true, vec![0x30, 3, 0x80, 1, 9])],
        ));
    }
    for which in 0..3 {
        shapes.push(changed("CA:FALSE", Bad, which, |spec| {
            spec.ca = Some(false);
        }));
        shapes.push(changed(
            "no basic constraints, no key usage",
            Bad,
            which,
            |spec| {
                spec.ca = None;
                spec.key_usage = None;
            },
        ));
        shapes.push(changed(
            "no basic constraints",
            if which == 0 {
                Stricter("only basicConstraints makes an authority, not a key usage")
            } else {
                Bad
            },
            which,
            |spec| spec.ca = None,
        ));
        shapes.push(changed("no keyCertSign", Bad, which, |spec| {
            spec.key_usage = Some(KeyUsages::DigitalSignature | KeyUsages::CRLSign);
        }));
        shapes.push(changed("no key usage", Good, which, |spec| {
            spec.key_usage = None;
        }));
        for critical in [true, false] {
            for (purpose, expect) in [
                ("1.3.6.1.5.5.7.3.3", Good),
                ("2.5.29.37.0", Good),
                (
                    "1.3.6.1.5.5.7.3.1",
                    Stricter("an issuer that is for something else issues no signers"),
                ),
            ] {
                shapes.push(changed(
                    &format!("purpose {purpose}, critical {critical}"),
                    expect,
                    which,
                    |spec| spec.extended_key_usage = Some((critical, purpose)),
                ));
            }
        }
        let exact = u8::try_from(2 - which).unwrap();
        for limit in 0..4_u8 {
            let expect = if limit >= exact { Good } else { Bad };
            shapes.push(changed(
                &format!("pathLen {limit}"),
                expect,
                which,
                |spec| {
                    spec.path_len = Some(limit);
                },
            ));
        }
        for critical in [true, false] {
            shapes.push(changed(
                &format!("name constraints, critical {critical}"),
                Stricter("name constraints are not evaluated, so no path may depend on them"),
                which,
                |spec| {
                    // permittedSubtrees: DNS names beneath a.example. The leaf has none.
                    let dns = b"a.example";
                    let mut value = vec![0x30, 15, 0xa0, 13, 0x30, 11, 0x82, 9];
                    value.extend_from_slice(dns);
                    spec.extra = vec![("2.5.29.30", critical, value)];
                },
            ));
        }
    }
    shapes.push(changed(
        "version 1",
        Stricter("only basicConstraints makes an authority, also of a root"),
        0,
        |spec| {
            spec.version = Version::V1;
            spec.identifiers = false;
            spec.ca = None;
            spec.key_usage = None;
        },
    ));
    for (name, expect, usage, purpose) in [
        ("no usage", Stricter("OMS asks for a use"), None, None),
        (
            "code signing",
            Good,
            None,
            Some((false, "1.3.6.1.5.5.7.3.3")),
        ),
        (
            "critical code signing",
            Good,
            None,
            Some((true, "1.3.6.1.5.5.7.3.3")),
        ),
        (
            "only servers",
            Stricter("OMS asks for digitalSignature or codeSigning"),
            None,
            Some((false, "1.3.6.1.5.5.7.3.1")),
        ),
        (
            "any purpose",
            Stricter("OMS asks for digitalSignature or codeSigning"),
            None,
            Some((false, "2.5.29.37.0")),
        ),
        (
            "signature, and servers",
            Stricter("a purpose that is stated limits, critical or not"),
            Some(KeyUsages::DigitalSignature),
            Some((false, "1.3.6.1.5.5.7.3.1")),
        ),
        (
            "signature, and critical: servers only",
            Stricter("a purpose that is stated limits, critical or not"),
            Some(KeyUsages::DigitalSignature),
            Some((true, "1.3.6.1.5.5.7.3.1")),
        ),
        (
            "encipherment",
            Stricter("OMS asks for digitalSignature or codeSigning"),
            Some(KeyUsages::KeyEncipherment),
            None,
        ),
        (
            "encipherment, and code signing",
            Stricter("a key usage that is stated limits"),
            Some(KeyUsages::KeyEncipherment),
            Some((false, "1.3.6.1.5.5.7.3.3")),
        ),
        (
            "signature, and code signing",
            Good,
            Some(KeyUsages::DigitalSignature),
            Some((false, "1.3.6.1.5.5.7.3.3")),
        ),
        (
            "signature, and any purpose",
            Good,
            Some(KeyUsages::DigitalSignature),
            Some((true, "2.5.29.37.0")),
        ),
    ] {
        shapes.push(changed(name, expect, 3, |spec| {
            spec.key_usage = usage.map(Into::into);
            spec.extended_key_usage = purpose;
        }));
    }

    shapes.push(changed(
        "empty key usage, and code signing",
        Bad,
        3,
        |spec| {
            spec.key_usage = Some(FlagSet::default());
            spec.extended_key_usage = Some((false, "1.3.6.1.5.5.7.3.3"));
        },
    ));

    // The shape of the OMS conformance material: a leaf with CA:TRUE and its issuer's name.
    let two = line(1);
    let odd = Spec::leaf("ca 1", key(31), "ca 1", key(1)).but(|spec| spec.ca = Some(true));
    shapes.push(Shape::new(
        "leaf of its issuer's name",
        Good,
        &odd,
        &two[1..],
        &two[..1],
    ));
    let odd_end = odd.clone().but(|spec| spec.ca = Some(false));
    shapes.push(Shape::new(
        "the same, CA:FALSE",
        Good,
        &odd_end,
        &two[1..],
        &two[..1],
    ));

    let alone = Spec::leaf("alone", key(31), "alone", key(31));
    let root = Spec::root("root", key(0));
    let roots = [root.clone()];
    let under = leaf_under(&two);
    let expired = alone.clone().but(|spec| spec.valid = (-DAY, -1));
    for (name, expect, leaf) in [
        ("self-signed and trusted", Good, &alone),
        ("self-signed, trusted and expired", Bad, &expired),
        ("trusted and not self-signed", Good, &under),
    ] {
        shapes.push(Shape::new(name, expect, leaf, &[], &[]).leaf_trusted());
    }
    for (name, others) in [
        ("self-signed, a stranger", &[][..]),
        (
            "self-signed, brings another edition of itself",
            from_ref(&alone),
        ),
    ] {
        shapes.push(Shape::new(name, Bad, &alone, others, &roots));
    }
    // The same key and name, but not the certificate that is trusted.
    let renewed = alone.clone().but(|spec| spec.valid = (-DAY, 2 * DAY));
    shapes.push(Shape::new(
        "self-signed, trusted in another edition",
        Bad,
        &renewed,
        &[],
        &[alone],
    ));

    // Names.
    let case = Spec::leaf("leaf", key(31), "CA 1", key(1));
    shapes.push(Shape::new(
        "issuer's name in another case",
        Stricter("names are compared byte for byte"),
        &case,
        &two[1..],
        &two[..1],
    ));
    let other = Spec::leaf("leaf", key(31), "ca 2", key(1));
    shapes.push(Shape::new(
        "right key, wrong name",
        Bad,
        &other,
        &two[1..],
        &two[..1],
    ));
    for (identifiers, expect) in [
        (true, Good),
        (
            false,
            Finds("the issuer is chosen by signature, OpenSSL takes the first of the name"),
        ),
    ] {
        let decoys: Vec<_> = (10..16)
            .map(|index| Spec::authority("ca 1", key(index), "root", key(0)))
            .chain(two[1..].iter().cloned())
            .map(|spec| spec.but(|spec| spec.identifiers = identifiers))
            .collect();
        shapes.push(Shape::new(
            format!("authorities of one name before the right one, {identifiers}"),
            expect,
            &under.clone().but(|spec| spec.identifiers = identifiers),
            &decoys,
            &two[..1],
        ));
    }
    // The key identifier of the leaf's issuer, and another one.
    let marked = Spec::authority("ca 1", key(1), "root", key(0)).but(|spec| {
        spec.identifiers = false;
        spec.extra = vec![("2.5.29.14", false, vec![4, 2, 1, 2])];
    });
    for (id, expect) in [
        (2, Good),
        (
            3,
            Wider("key identifiers are hints (RFC 5280, section 4.2.1.1), signatures decide"),
        ),
    ] {
        let hinted = under.clone().but(|spec| {
            spec.identifiers = false;
            spec.extra = vec![("2.5.29.35", false, vec![0x30, 4, 0x80, 2, 1, id])];
        });
        shapes.push(Shape::new(
            format!("key identifier {id}"),
            expect,
            &hinted,
            from_ref(&marked),
            &two[..1],
        ));
    }

    // Cross-signing: the issuer is certified by two roots.
    let first = Spec::authority("ca", key(1), "first", key(2));
    let second = Spec::authority("ca", key(1), "second", key(3));
    let leaf = Spec::leaf("leaf", key(31), "ca", key(1));
    let roots = [Spec::root("first", key(2)), Spec::root("second", key(3))];
    for trusted in 0..2 {
        for others in [
            [first.clone(), second.clone()],
            [second.clone(), first.clone()],
        ] {
            let way = if others[0].issuer == roots[trusted].subject {
                "first"
            } else {
                "second"
            };
            let expect = if way == "first" {
                Good
            } else {
                Finds("every issuer is tried, OpenSSL stays with the first")
            };
            shapes.push(Shape::new(
                format!("cross-signed, {trusted}, {way}"),
                expect,
                &leaf,
                &others,
                &roots[trusted..=trusted],
            ));
        }
        let dead = [first.clone(), second.clone()].map(|spec| {
            let dead = spec.issuer != roots[trusted].subject;
            spec.but(|spec| {
                if dead {
                    spec.valid = (-DAY, -1);
                }
            })
        });
        shapes.push(Shape::new(
            format!("cross-signed, {trusted}, the other one expired"),
            Good,
            &leaf,
            &dead,
            &roots[trusted..=trusted],
        ));
    }

    // Self-issued authorities carry a name from key to key and don't count.
    let rollover = |limit| {
        [
            Spec::authority("ca", key(1), "root", key(0)).but(|spec| spec.path_len = Some(limit)),
            Spec::authority("ca", key(2), "ca", key(1)),
        ]
    };
    let leaf = Spec::leaf("leaf", key(31), "ca", key(2));
    shapes.push(Shape::new(
        "rollover under pathLen 0",
        Good,
        &leaf,
        &rollover(0),
        from_ref(&root),
    ));
    let below = Spec::authority("sub", key(3), "ca", key(2));
    let leaf = Spec::leaf("leaf", key(31), "sub", key(3));
    for (limit, expect) in [(0, Bad), (1, Good)] {
        let others = [&rollover(limit)[..], from_ref(&below)].concat();
        shapes.push(Shape::new(
            format!("rollover and one more under pathLen {limit}"),
            expect,
            &leaf,
            &others,
            from_ref(&root),
        ));
    }

    judge_all(&shapes);
}

#[test]
fn algorithms() {
    let mut schemes = vec![
        Scheme::P256(256),
        Scheme::P256(384),
        Scheme::P256(512),
        Scheme::P384(256),
        Scheme::P384(384),
        Scheme::P384(512),
        Scheme::P521(256),
        Scheme::P521(384),
        Scheme::P521(512),
        Scheme::Rsa(256),
        Scheme::Rsa(384),
        Scheme::Rsa(512),
        Scheme::Pss(256),
        Scheme::Pss(384),
        Scheme::Pss(512),
        Scheme::Ed25519,
    ];
    if OpenSsl::new().is_none() {
        schemes.retain(|scheme| !scheme.needs_openssl());
    }
    let keys: Vec<Key> = schemes.iter().copied().map(Key::new).collect();
    let mut shapes = Vec::new();
    for (upper, root) in schemes.iter().zip(&keys) {
        for (lower, middle) in schemes.iter().zip(&keys).step_by(2) {
            let anchors = [Spec::root("root", root)];
            let others = [Spec::authority("ca", middle, "root", root)];
            let leaf = Spec::leaf("leaf", key(31), "ca", middle);
            let name = format!("{lower:?} under {upper:?}");
            shapes.push(Shape::new(&name, Expect::Good, &leaf, &others, &anchors));
            let forged = others[0].clone().but(|spec| spec.flip_signature = true);
            shapes.push(Shape::new(
                name + ", forged",
                Expect::Bad,
                &leaf,
                &[forged],
                &anchors,
            ));
        }
    }
    judge_all(&shapes);
}

/// Signatures with SHA-1 or by short keys count for nothing, regardless of OpenSSL's settings.
#[test]
fn weak_algorithms() {
    if OpenSsl::new().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let openssl = |line: &str| {
        let output = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    };
    let read = |name: &str| {
        let pem = fs::read(folder.path().join(name)).unwrap();
        Certificate::from_pem(&pem).unwrap().remove(0)
    };
    fs::write(folder.path().join("usage"), "keyUsage=digitalSignature\n").unwrap();
    openssl("ecparam -name prime256v1 -genkey -noout -out leaf.key");
    openssl("req -new -key leaf.key -subj /CN=leaf -out leaf.csr");
    for (bits, hash, good) in [
        (2048, "sha256", true),
        (2048, "sha1", false),
        (1024, "sha256", false),
    ] {
        openssl(&format!(
            "req -x509 -newkey rsa:{bits} -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2"
        ));
        openssl(&format!(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -set_serial 1 -{hash} -days 1 \
             -extfile usage -out leaf.pem"
        ));
        let anchors = Anchors::new(vec![read("ca.pem")]).unwrap();
        // Made after `now`.
        let at = now() + Duration::from_secs(600);
        let found = Path::find(&read("leaf.pem"), &[], &anchors, at);
        if good {
            found.unwrap();
        } else {
            assert!(
                matches!(found, Err(PathError::NoIssuer { named: true, .. })),
                "{found:?}"
            );
        }
    }
}

/// Authorities that certify each other at random, many of them with something wrong. Where OpenSSL
/// finds a path so do we; where only we do, OpenSSL confirms it.
#[test]
fn random_shapes() {
    let openssl = OpenSsl::new();
    let (mut good, mut bad, mut ours_alone) = (0, 0, 0);
    for seed in 1..=200_u64 {
        let shape = random(seed);
        let found = shape.find();
        match &found {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
        let Some(openssl) = &openssl else { continue };
        let theirs = openssl.judge(&shape, true);
        match found {
            Ok(path) => {
                assert!(openssl.confirms(&path), "seed {seed}: {path:?}");
                ours_alone += usize::from(!theirs);
            }
            Err(error) => assert!(!theirs, "seed {seed}: {error}"),
        }
    }
    eprintln!("{good} with a path, {ours_alone} of them not found by openssl, {bad} without");
    assert!(good >= 40 && bad >= 40, "{good} {bad}");
}

fn random(seed: u64) -> Shape {
    // xorshift64*
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = move |below: u64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below).unwrap()
    };
    // Five holders, of which the first two have two keys.
    let holder = |index: usize| (format!("ca {}", index % 5), key(index));
    let authority = |next: &mut dyn FnMut(u64) -> usize| {
        let ((subject, subject_key), (issuer, issuer_key)) = (holder(next(7)), holder(next(7)));
        let mut spec = Spec::authority(&subject, subject_key, &issuer, issuer_key);
        match next(16) {
            0 => spec.valid = (-2 * DAY, -DAY),
            1 => spec.ca = Some(false),
            2 => spec.key_usage = Some(KeyUsages::CRLSign.into()),
            3 => spec.flip_signature = true,
            4 => spec.extra = vec![("1.2.3.4", true, vec![5, 0])],
            5 => spec.path_len = Some(0),
            6 => spec.path_len = Some(1),
            _ => {}
        }
        spec
    };
    let others: Vec<_> = (0..6 + next(8)).map(|_| authority(&mut next)).collect();
    let anchors: Vec<_> = (0..=next(2)).map(|_| authority(&mut next)).collect();
    let (issuer, issuer_key) = holder(next(7));
    let leaf = Spec::leaf("leaf", key(31), &issuer, issuer_key);
    Shape::new(
        format!("seed {seed}"),
        Expect::Good,
        &leaf,
        &others,
        &anchors,
    )
}

/// Thirty authorities, each certified by as many others as fit: more paths than could ever be
/// tried.
#[test]
fn loops_are_bounded() {
    let name = |index: usize| format!("ca {index}");
    let mut others = Vec::new();
    for subject in 0..6 {
        for issuer in 0..6 {
            if subject != issuer {
                others.push(Spec::authority(
                    &name(subject),
                    key(subject),
                    &name(issuer),
                    key(issuer),
                ));
            }
        }
    }
    let leaf = Spec::leaf("leaf", key(31), "ca 0", key(0));
    let stranger = Spec::root("stranger", key(9));
    let shape = Shape::new("loops", Expect::Bad, &leaf, &others, &[stranger]);
    let start = Instant::now();
    assert_eq!(shape.find(), Err(PathError::Work));
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );

    // All have the same name; only signatures tell them apart.
    let others: Vec<_> = (0..30)
        .map(|index| Spec::authority("ca", key(index), "ca", key(30)))
        .collect();
    let leaf = Spec::leaf("leaf", key(31), "ca", key(29));
    let shape = Shape::new(
        "one name",
        Expect::Bad,
        &leaf,
        &others,
        &[Spec::root("root", key(9))],
    );
    assert!(matches!(
        shape.find(),
        Err(PathError::NoIssuer { named: true, .. })
    ));
}

/// However often a judgement searches, it has one number of checks; and it searches again only
/// where time was in the way.
#[test]
fn one_bound_holds_for_all_searches_of_a_judgement() {
    let stray = |index: usize| Spec::authority("ca", key(index % 30), "root", key(0));
    let leaf = Spec::leaf("leaf", key(31), "ca", key(30));
    let old = Spec::authority("ca", key(30), "root", key(0))
        .but(|spec| spec.valid = (-90 * DAY, -80 * DAY));
    let root = Spec::root("root", key(0)).but(|spec| spec.valid = (-90 * DAY, 90 * DAY));
    // Three searches of so many checks, and one of the root.
    for (strays, is_found) in [(40, true), (60, false)] {
        let mut others: Vec<_> = (0..strays).map(stray).collect();
        others.push(old.clone());
        let shape = Shape::new("", Expect::Bad, &leaf, &others, from_ref(&root));
        match shape.find() {
            Err(PathError::Untimely(untimely)) if is_found => assert_eq!(untimely.together, None),
            Err(PathError::Work) if !is_found => {}
            other => panic!("{strays}: {other:?}"),
        }
    }
    let others: Vec<_> = (0..100).map(stray).collect();
    let shape = Shape::new("", Expect::Bad, &leaf, &others, &[root]);
    assert!(matches!(
        shape.find(),
        Err(PathError::NoIssuer { named: true, .. })
    ));
}

/// Where the checks ran out on the way to a path that was valid once, it isn't said that there was
/// none.
#[test]
fn what_was_not_searched_is_not_called_never_valid() {
    let leaf =
        Spec::leaf("leaf", key(31), "ca", key(30)).but(|spec| spec.valid = (-20 * DAY, -10 * DAY));
    let root = Spec::root("root", key(29));
    let root = root.but(|spec| spec.valid = (-90 * DAY, 90 * DAY));
    let ca = |issuer: &str, by: usize, from: i64, to: i64| {
        Spec::authority("ca", key(30), issuer, key(by))
            .but(|spec| spec.valid = (from * DAY, to * DAY))
    };
    let mut others = vec![ca("root", 29, -5, 30), ca("loop 0", 0, -30, 30)];
    let name = |index: usize| format!("loop {index}");
    for subject in 0..6 {
        for issuer in (0..6).filter(|issuer| *issuer != subject) {
            let loops = Spec::authority(&name(subject), key(subject), &name(issuer), key(issuer));
            others.push(loops.but(|spec| spec.valid = (-30 * DAY, 30 * DAY)));
        }
    }
    others.push(ca("root", 29, -30, -12));
    let shape = Shape::new("", Expect::Bad, &leaf, &others, from_ref(&root));
    assert_eq!(shape.find(), Err(PathError::Work));
    let then: ValidAt = moment(-15 * DAY).parse().unwrap();
    assert_eq!(shape.find_at(then), Err(PathError::Work));
    // Without the loops it is found.
    others.drain(1..others.len() - 1);
    let shape = Shape::new("", Expect::Bad, &leaf, &others, &[root]);
    let Err(PathError::Untimely(untimely)) = shape.find() else {
        panic!()
    };
    let together = format!("{} to {}", moment(-20 * DAY), moment(-12 * DAY));
    assert_eq!(untimely.together.unwrap().to_string(), together);
    shape.find_at(then).unwrap();
}

/// Under a moment of the past that was chosen, a certificate issued since is found to be valid now:
/// another entry helps, and no date.
#[test]
fn what_is_valid_now_is_told_of_a_moment_of_the_past() {
    let root = Spec::root("root", key(0)).but(|spec| spec.valid = (-90 * DAY, 90 * DAY));
    let leaf = Spec::leaf("leaf", key(2), "ca", key(1)).but(|spec| spec.valid = (-20 * DAY, DAY));
    let ca = |from: i64, to: i64| {
        Spec::authority("ca", key(1), "root", key(0))
            .but(|spec| spec.valid = (from * DAY, to * DAY))
    };
    let others = [ca(-40, -12), ca(-5, 30)];
    let shape = Shape::new("", Expect::Bad, &leaf, &others, from_ref(&root));
    shape.find().unwrap();
    let then: ValidAt = moment(-30 * DAY).parse().unwrap();
    let Err(PathError::Untimely(untimely)) = shape.find_at(then) else {
        panic!()
    };
    let together = format!("{} to {}", moment(-5 * DAY), moment(DAY));
    assert_eq!(untimely.together.unwrap().to_string(), together);
    // Of a last moment before the first there is no other word.
    let leaf = leaf.but(|spec| spec.valid = (-DAY, -2 * DAY));
    let shape = Shape::new("", Expect::Bad, &leaf, &others, &[root]);
    assert_eq!(
        shape.find().unwrap_err().to_string(),
        format!(
            "certificate \"CN=leaf\" is valid at no time: its last moment, {}, comes before its \
             first, {}; its path was never valid as a whole",
            moment(-2 * DAY),
            moment(-DAY)
        )
    );
}

/// Errors name the certificate and the rule, and don't act on a terminal.
#[test]
fn messages() {
    let message = |shape: &Shape| shape.find().unwrap_err().to_string();
    let expired = changed("", Expect::Bad, 2, |spec| spec.valid = (-2 * DAY, -DAY));
    assert_eq!(
        message(&expired),
        format!(
            "certificate \"CN=ca 2\" has expired: it is valid from {} to {}, and now it is {}",
            moment(-2 * DAY),
            moment(-DAY),
            moment(0)
        )
    );
    // Time is told only where nothing else is wrong.
    let wrong = changed("", Expect::Bad, 2, |spec| {
        spec.valid = (-2 * DAY, -DAY);
        spec.ca = Some(false);
    });
    assert!(matches!(wrong.find(), Err(PathError::Rule { .. })));
    let limit = changed("", Expect::Bad, 0, |spec| spec.path_len = Some(1));
    assert_eq!(
        message(&limit),
        "certificate \"CN=root\": its path length constraint allows at most 1 authorities \
         beneath it"
    );
    let line = line(1);
    let stray = Spec::leaf("a\u{202e}b\u{1b}[2J", key(31), "nobody", key(1));
    let text = message(&Shape::new("", Expect::Bad, &stray, &line[1..], &line[..1]));
    assert_eq!(
        text,
        "certificate \"CN=a\\u{202e}b\\\\1b[2J\" has no issuer among the trusted certificates and \
         those of the bundle: it names \"CN=nobody\""
    );
    let forged = leaf_under(&line).but(|spec| spec.flip_signature = true);
    let text = message(&Shape::new(
        "",
        Expect::Bad,
        &forged,
        &line[1..],
        &line[..1],
    ));
    assert_eq!(
        text,
        "certificate \"CN=leaf\" was not signed by any certificate of its issuer \"CN=ca 1\""
    );
}

/// A moment that was chosen takes the place of now for all certificates: as `-attime` of OpenSSL
/// does, from second to second.
#[test]
fn moments() {
    let openssl = OpenSsl::new();
    let mut line = line(2);
    line.push(leaf_under(&line));
    let valid = [(-90, -20), (-80, -30), (-70, -40), (-60, -10)];
    for (spec, (from, to)) in line.iter_mut().zip(valid) {
        spec.valid = (from * DAY, to * DAY);
    }
    let shape = Shape::new("", Expect::Bad, &line[3], &line[1..3], &line[..1]);
    let mut judged = Vec::new();
    for (from, to) in valid {
        judged.extend([from * DAY - 1, from * DAY, from * DAY + 1]);
        judged.extend([to * DAY - 1, to * DAY, to * DAY + 1]);
    }
    judged.extend([-50 * DAY, -DAY, 0]);
    for offset in judged {
        let chosen: ValidAt = moment(offset).parse().unwrap();
        let found = shape.find_at(chosen);
        assert_eq!(
            found.is_ok(),
            (-60 * DAY..=-40 * DAY).contains(&offset),
            "{offset}"
        );
        if let Err(error) = found {
            let PathError::Untimely(untimely) = error else {
                panic!("{offset}: {error}")
            };
            let together = format!("{} to {}", moment(-60 * DAY), moment(-40 * DAY));
            assert_eq!(untimely.together.unwrap().to_string(), together);
            assert_eq!(untimely.moment, chosen.into());
        }
        // The last second of a validity belongs to it; OpenSSL leaves it out.
        if let Some(openssl) = &openssl
            && offset != -40 * DAY
        {
            let theirs = openssl.judge_at(offset, &shape, true);
            assert_eq!(shape.find_at(chosen).is_ok(), theirs, "{offset}");
        }
    }
}

/// An authority that was renewed with the same key, whichever comes first: the certificate of it is
/// taken that was valid when the leaf was, and no two are mixed.
#[test]
fn a_renewed_authority_is_judged_by_the_right_certificate() {
    let root = Spec::root("root", key(0)).but(|spec| spec.valid = (-90 * DAY, 90 * DAY));
    let leaf =
        Spec::leaf("leaf", key(2), "ca", key(1)).but(|spec| spec.valid = (-20 * DAY, -10 * DAY));
    let ca = |from: i64, to: i64| {
        Spec::authority("ca", key(1), "root", key(0))
            .but(|spec| spec.valid = (from * DAY, to * DAY))
    };
    let (old, new) = (ca(-40, -12), ca(-5, 30));
    for others in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
        let shape = Shape::new("", Expect::Bad, &leaf, &others, from_ref(&root));
        let then: ValidAt = moment(-15 * DAY).parse().unwrap();
        let path = shape.find_at(then).unwrap();
        assert_eq!(path.certificates()[1].not_after(), moment(-12 * DAY));
        let Err(PathError::Untimely(untimely)) = shape.find() else {
            panic!()
        };
        let together = format!("{} to {}", moment(-20 * DAY), moment(-12 * DAY));
        assert_eq!(untimely.together.unwrap().to_string(), together);
    }
    // With the new one alone there is no such moment.
    let shape = Shape::new("", Expect::Bad, &leaf, &[new], from_ref(&root));
    for offset in [-15 * DAY, -11 * DAY, -4 * DAY] {
        let then: ValidAt = moment(offset).parse().unwrap();
        let Err(PathError::Untimely(untimely)) = shape.find_at(then) else {
            panic!()
        };
        assert_eq!(untimely.together, None);
    }
}

#[test]
fn files_of_certificates() {
    let ders: Vec<_> = line(2).iter().map(Spec::der).collect();
    let text = pem_file(ders.iter().map(Vec::as_slice));
    let read = |text: &str| Certificate::from_pem(text.as_bytes());
    assert_eq!(read(&text).unwrap().len(), 3);
    assert_eq!(
        read(&format!("Bag\n\n{}", text.replace('\n', "\r\n")))
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        Anchors::from_pem([&text, &text])
            .unwrap()
            .certificates()
            .len(),
        6
    );

    assert!(matches!(read(""), Err(CertificateError::NotFound { .. })));
    let key = key(0).pkcs8_pem();
    let error = read(&key).unwrap_err().to_string();
    assert_eq!(
        error,
        "the certificate file has no CERTIFICATE block (found: PRIVATE KEY)"
    );
    // Cut off anywhere within a block: an error, not fewer certificates.
    let begin = text.rfind("-----BEGIN").unwrap();
    for end in begin + "-----BEGIN ".len()..text.trim_end().len() {
        assert_eq!(read(&text[..end]), Err(CertificateError::Pem), "{end}");
    }
    assert_eq!(
        read(&text.replace("MII", "M!I")),
        Err(CertificateError::Pem)
    );
    let short = pem_file([&ders[0][..ders[0].len() - 1]]);
    assert_eq!(read(&short), Err(CertificateError::Malformed));
    let long = pem_file([&[&ders[0][..], &[0]].concat()[..]]);
    assert_eq!(read(&long), Err(CertificateError::Malformed));
    let large = pem_file([&vec![0; model_fs::oms::bundle::MAX_CERTIFICATE + 1][..]]);
    assert!(matches!(
        read(&large),
        Err(CertificateError::LargeCertificate { .. })
    ));
    let huge = " ".repeat(model_fs::oms::certificate::MAX_PEM + 1);
    assert!(matches!(
        read(&huge),
        Err(CertificateError::TooLarge { .. })
    ));
    assert!(matches!(
        Anchors::from_pem(std::iter::empty::<&str>()),
        Err(CertificateError::NotFound { .. })
    ));
    let many = vec![&text; model_fs::oms::certificate::MAX_ANCHORS / 3 + 1];
    assert!(matches!(
        Anchors::from_pem(many),
        Err(CertificateError::TooMany { .. })
    ));

    // The same extension twice.
    let twice = Spec::root("root", self::key(0)).but(|spec| {
        spec.extra = vec![
            ("1.2.3.4", false, vec![5, 0]),
            ("1.2.3.4", false, vec![5, 0]),
        ];
    });
    assert_eq!(
        Certificate::from_der(&twice.der()),
        Err(CertificateError::Malformed)
    );
}

/// A damaged certificate never gives a path, unless the damage is in a part of the root that isn't
/// needed (its own signature) or that has no meaning (unused bits).
#[test]
fn damaged_certificates() {
    let line = line(1);
    let leaf = leaf_under(&line).der();
    let (issuer, root) = (line[1].der(), line[0].der());
    let decode = |der: &[u8]| Certificate::from_der(der);
    let anchors = Anchors::new(vec![decode(&root).unwrap()]).unwrap();
    let (whole_leaf, whole_issuer) = (decode(&leaf).unwrap(), decode(&issuer).unwrap());
    Path::find(&whole_leaf, from_ref(&whole_issuer), &anchors, now()).unwrap();
    for index in 0..leaf.len() {
        for bit in [0, 3, 7] {
            let mut bad = leaf.clone();
            bad[index] ^= 1 << bit;
            if let Ok(bad) = decode(&bad) {
                assert!(
                    Path::find(&bad, from_ref(&whole_issuer), &anchors, now()).is_err(),
                    "{index}"
                );
            }
        }
    }
    for index in 0..issuer.len() {
        for bit in [0, 3, 7] {
            let mut bad = issuer.clone();
            bad[index] ^= 1 << bit;
            if let Ok(bad) = decode(&bad) {
                assert!(
                    Path::find(&whole_leaf, &[bad], &anchors, now()).is_err(),
                    "{index}"
                );
            }
        }
    }
}
