"""Makes the test vectors of `lazy-verification.md`, bit by bit the same each time.

    python make_vectors.py [FOLDER]

Needs `cryptography` 43 or newer, which signs with nonces by RFC 6979. What each vector expects is
written here by hand, and not asked of the reader; of the reader's modules, this uses BLAKE3 and the
form of tables.
"""

import hashlib
import json
import os
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "reader"))

from lazy_reader import blake3, bundle, table  # noqa: E402
from lazy_reader.vectors import content, payload  # noqa: E402

CHUNK = 65536
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def key_of(seed):
    """A private key on P-256, for tests alone: anybody can make it."""
    secret = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")
    return ec.derive_private_key(secret % (P256_ORDER - 1) + 1, ec.SECP256R1())


def pem_of(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


KEY = key_of("lazy verification, test vectors, key 1")
OTHER_KEY = key_of("lazy verification, test vectors, key 2")
HINT = hashlib.sha256(pem_of(KEY)).hexdigest()


def sign(message, key=KEY):
    import base64

    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    return base64.b64encode(key.sign(message, algorithm)).decode()


# Statements, as text: what is wrong with them is often how they are written.


def hexdigest(algorithm, data):
    if algorithm == "blake3":
        return blake3.digest(data).hex()
    return hashlib.new(algorithm, data).hexdigest()


def annotations(data, **other):
    """The annotations of some bytes; `other` has other members, or `None` for none, as text."""
    stated = {"size": str(len(data)), "blake3": f'"{hexdigest("blake3", data)}"', **other}
    inside = ",".join(f'"{name}":{value}' for name, value in stated.items() if value is not None)
    return "{" + inside + "}"


def resource(name, data, algorithm="sha256", annotated=None, more=""):
    """A resource and its digest. `annotated` and `more` are text."""
    digest = hexdigest(algorithm, data)
    text = f'{{"name":{json.dumps(name)},"algorithm":"{algorithm}","digest":"{digest}"'
    if annotated is not None:
        text += f',"annotations":{annotated}'
    return text + more + "}", digest


def statement(listed, **other):
    """The text of a statement over such resources. `other` replaces parts of it, as text."""
    digests = b"".join(bytes.fromhex(digest) for _, digest in listed)
    stated = {
        "type": '"https://in-toto.io/Statement/v1"',
        "predicate_type": '"https://model_signing/signature/v1.0"',
        "root": hashlib.sha256(digests).hexdigest(),
        "method": "files",
        "hash_type": "sha256",
        "ignore_paths": '[".model-fs","model.sig"]',
        "serialization_more": "",
        "predicate_more": "",
        "more": "",
    } | other
    stated.setdefault("subject", f'[{{"name":"model","digest":{{"sha256":"{stated["root"]}"}}}}]')
    stated.setdefault(
        "serialization",
        '{{"method":"{method}","hash_type":"{hash_type}","allow_symlinks":false,'
        '"ignore_paths":{ignore_paths}{serialization_more}}}'.format(**stated),
    )
    stated.setdefault("resources", "[" + ",".join(text for text, _ in listed) + "]")
    return (
        '{{"_type":{type},"subject":{subject},"predicateType":{predicate_type},'
        '"predicate":{{"serialization":{serialization},"resources":{resources}{predicate_more}}}'
        "{more}}}".format(**stated)
    )


BUNDLE = (
    '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":'
    '{"publicKey":{"hint":"@HINT@"},"tlogEntries":[]},"dsseEnvelope":{"payload":"@PAYLOAD@",'
    '"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"@SIG@","keyid":""}]}}\n'
)


class Vectors:
    """All vectors, by name."""

    def __init__(self):
        self.all = {}

    def add(self, name, about, stated, files, tables=None, **expected):
        """One vector. `stated` is the payload: text, or its parts.

        `expected` may have: `verdict` ("ok" if absent), `warnings`, `differences`, `reads`,
        and how the bundle is made: `template`, `key`, `signed` (what is signed instead of the
        payload), `sig` (a function from the signature's text).
        """
        parts = [stated] if isinstance(stated, str) else stated
        message = bundle.message_over(payload(expected.pop("signed", parts)))
        signature = sign(message, expected.pop("key", KEY))
        text = expected.pop("template", BUNDLE)
        text = text.replace("@HINT@", HINT).replace("@SIG@", signature)
        verdict = expected.pop("verdict", "ok")
        vector = {
            "about": about,
            "files": files,
            "tables": tables or {},
            "payload": parts,
            "bundle": text,
            "verdict": verdict,
        }
        if verdict in ("ok", "content"):
            vector["warnings"] = sorted(map(list, expected.pop("warnings", [])))
        if verdict == "content":
            vector["differences"] = expected.pop("differences")
        if "reads" in expected:
            vector["reads"] = expected.pop("reads")
        assert not expected, expected
        assert name not in self.all, name
        self.all[name] = vector

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        stale = {name for name in os.listdir(folder) if name.endswith(".json")}
        for name, vector in self.all.items():
            stale.discard(f"{name}.json")
            with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
                json.dump(vector, file, indent=1)
                file.write("\n")
        for name in stale:
            os.remove(os.path.join(folder, name))
        with open(os.path.join(folder, "key.pem"), "wb") as file:
            file.write(pem_of(KEY))


# Content and tables.


def recipe(seed, length, *flip):
    made = {"seed": seed, "len": length}
    return made | {"flip": list(flip)} if flip else made


def values_of(data):
    return [blake3.chaining_value(data[i : i + CHUNK], i) for i in range(0, len(data), CHUNK)]


def table_of(data):
    """Name → table in hex, of content with at least two chunks."""
    if len(data) <= CHUNK:
        return {}
    root = blake3.digest(data)
    values = values_of(data)
    assert blake3.merge(values) == root
    return {table.name(root): table.encode(len(data), root, values).hex()}


# Reads.


def good(data, offset, length):
    """These bytes, and no error."""
    part = data[offset : offset + length]
    return {"len": len(part), "sha256": hashlib.sha256(part).hexdigest()}


def either(data, offset, length):
    """These bytes, or an error."""
    return good(data, offset, length) | {"or_error": True}


def error(_data, _offset, _length):
    return "error"


def read(file, data, offset, length, lazy=good, tables=good, bare=good, size=None):
    """A range of a file that should have the content `data`, and has the signed size `size`."""
    wanted = {"file": file, "offset": offset, "len": length}
    if size is not None and offset >= size:
        # The signed size tells that nothing is there, whatever the content is.
        lazy, tables, bare = (
            result if result is good else either for result in (lazy, tables, bare)
        )
        data = data[:size]
    results = {"lazy": lazy, "tables": tables, "bare": bare}
    made = {name: result(data, offset, length) for name, result in results.items()}
    return wanted | made


def edges(file, data, **results):
    """Ranges at the beginning, at the end and beyond, over a border of chunks, and all of it."""
    ranges = [(0, 10), (max(0, len(data) - 1), 10), (len(data), 1), (0, len(data))]
    if len(data) > CHUNK:
        ranges.append((CHUNK - 6, 12))
    return [read(file, data, *each, **results) for each in ranges]


SMALL = recipe("small", 100)
SMALL_DATA = content(SMALL)
# Three chunks, the last of one byte.
LARGE = recipe("large", 2 * CHUNK + 1)
LARGE_DATA = content(LARGE)


def one(text, name="a.bin", data=SMALL_DATA, **other):
    """A statement over one file whose annotations are this text."""
    return statement([resource(name, data, annotated=text)], **other)


def annotation_forms(add):
    """How annotations are written (4.1 to 4.3)."""
    sizes = {
        "negative": "-100",
        "minus-zero": "-0",
        "fraction": "100.5",
        "whole-fraction": "100.0",
        "exponent": "1e2",
        "exponent-capital": "1E2",
        "two-to-63": str(2**63),
        "two-to-64": str(2**64),
        "two-to-64-and-100": str(2**64 + 100),
        "beyond-floating-point": "1e400",
        "many-digits": "1" * 5000,
        "string": '"100"',
        "array": "[100]",
        "object": '{"size":100}',
        "true": "true",
        "false": "false",
    }
    for name, text in sizes.items():
        add(
            f"size-{name}",
            "A size of another form is ignored with a warning; the digests prove the file.",
            one(annotations(SMALL_DATA, size=text)),
            {"a.bin": SMALL},
            warnings=[("a.bin", "size")],
            reads=edges("a.bin", SMALL_DATA),
        )
    add(
        "size-ignored-alone",
        "Without any annotation left, the file is proved by its digest, and damage is seen.",
        one('{"size":"101"}'),
        {"a.bin": recipe("small", 100, 99)},
        verdict="content",
        warnings=[("a.bin", "size")],
        differences={"a.bin": {"holds": [], "differs": ["sha256"]}},
        reads=edges("a.bin", SMALL_DATA, lazy=error, tables=error, bare=error),
    )
    for name, text in {
        "zero": "0",
        "largest": str(2**63 - 1),
        "one-less": "99",
        "one-more": "101",
    }.items():
        add(
            f"size-{name}",
            "A size of the right form that isn't the file's.",
            one(annotations(SMALL_DATA, size=text)),
            {"a.bin": SMALL},
            verdict="content",
            differences={"a.bin": "size"},
            reads=edges("a.bin", SMALL_DATA, lazy=error, tables=error, bare=error, size=int(text)),
        )
    for algorithm in ("sha256", "blake3"):
        stated = resource("a.bin", SMALL_DATA, algorithm, f'{{"size":{2**63 - 1}}}')
        add(
            f"size-largest-{algorithm}-alone",
            "A right digest and a size that isn't the file's.",
            statement([stated], hash_type=algorithm),
            {"a.bin": SMALL},
            verdict="content",
            differences={"a.bin": "size"},
            reads=edges("a.bin", SMALL_DATA, lazy=error, tables=error, bare=error),
        )
    for name, text in {
        "leading-zero": "0100",
        "plus": "+100",
        "hexadecimal": "0x64",
        "nan": "NaN",
        "infinity": "Infinity",
        "minus-infinity": "-Infinity",
        "no-digit-before-the-point": ".5",
        "no-digit-behind-the-point": "100.",
        "no-exponent": "1e",
        "two-minus": "--1",
        "capital-null": "Null",
        "nothing": "",
    }.items():
        add(
            f"size-no-json-{name}",
            "What is no JSON makes the statement malformed, whatever member it is in.",
            one(annotations(SMALL_DATA, size=text)),
            {"a.bin": SMALL},
            verdict="statement",
        )

    right = hexdigest("blake3", SMALL_DATA)
    digests = {
        "upper-case": f'"{right.upper()}"',
        "one-upper-case": f'"{right.replace("e", "E", 1)}"',
        "short": f'"{right[:-1]}"',
        "long": f'"{right}0"',
        "empty": '""',
        "not-hex": f'"{right[:-1]}g"',
        "space": f'" {right[:-1]}"',
        "prefix": f'"blake3:{right}"',
        "other-digits": f'"{right[:-1]}\\u0663"',
        "newline": f'"{right}\\n"',
        "half-a-pair": f'"{right[:-1]}\\ud800"',
        "number": right.translate(str.maketrans("abcdef", "123456")).lstrip("0"),
        "true": "true",
        "array": f'["{right}"]',
        "object": f'{{"blake3":"{right}"}}',
    }
    assert len(right) == 64 and "e" in right
    for name, text in digests.items():
        add(
            f"blake3-{name}",
            "A blake3 of another form is ignored with a warning; digest and size prove the file.",
            one(annotations(SMALL_DATA, blake3=text)),
            {"a.bin": SMALL},
            warnings=[("a.bin", "blake3")],
            reads=edges("a.bin", SMALL_DATA, lazy=either),
        )
    for name, text in {
        "one-escape": f'"\\u{ord(right[0]):04x}{right[1:]}"',
        "all-escapes": '"' + "".join(f"\\u{ord(digit):04X}" for digit in right) + '"',
    }.items():
        add(
            f"blake3-{name}",
            "Escapes are characters: this is the right digest.",
            one(annotations(SMALL_DATA, blake3=text)),
            {"a.bin": SMALL},
            reads=edges("a.bin", SMALL_DATA),
        )
    add(
        "blake3-escape-of-another-digest",
        "An escaped digest counts as any other.",
        one(annotations(SMALL_DATA, blake3=f'"\\u0030{"0" * 63}"')),
        {"a.bin": SMALL},
        verdict="content",
        differences={"a.bin": {"holds": ["sha256"], "differs": ["blake3"]}},
        reads=edges("a.bin", SMALL_DATA, lazy=error, tables=error, bare=error, size=100),
    )
    add(
        "both-of-other-forms",
        "Each is warned of.",
        one('{"size":-1,"blake3":1}'),
        {"a.bin": SMALL},
        warnings=[("a.bin", "size"), ("a.bin", "blake3")],
        reads=edges("a.bin", SMALL_DATA, lazy=either),
    )

    for name, text in {
        "string": '"size"',
        "number": "100",
        "exponent": "1e400",
        "array": annotations(SMALL_DATA).join("[]"),
        "empty-array": "[]",
        "true": "true",
        "false": "false",
        "half-a-pair": '"\\ud800"',
        "deep": "[" * 10000 + "]" * 10000,
    }.items():
        parts = one(text)
        if name == "deep":
            before, after = one("@DEEP@").split("@DEEP@")
            parts = [
                before,
                {"repeat": "[", "times": 10000},
                {"repeat": "]", "times": 10000},
                after,
            ]
        add(
            f"annotations-{name}",
            "Annotations that are no object are ignored with a warning.",
            parts,
            {"a.bin": SMALL},
            warnings=[("a.bin", "annotations")],
            reads=edges("a.bin", SMALL_DATA, lazy=either),
        )
    for name, text in {
        "absent": None,
        "null": "null",
        "empty": "{}",
        "null-size": '{"size":null}',
        "null-blake3": '{"blake3":null}',
        "nulls": '{"blake3":null,"size":null}',
    }.items():
        add(
            f"annotations-{name}",
            "Nothing is annotated, and nothing warned of.",
            one(text),
            {"a.bin": SMALL},
            reads=edges("a.bin", SMALL_DATA, lazy=either),
        )
    for name, text in {
        "white-space": f'\t{{ "size" : \r\n100 , "blake3"\n: "{right}" }} ',
        "other-order": f'{{"blake3":"{right}","size":100}}',
        "escaped-names": f'{{"siz\\u0065":100,"\\u0062lake3":"{right}"}}',
    }.items():
        add(
            f"annotations-{name}",
            "The same JSON, written otherwise.",
            one(text),
            {"a.bin": SMALL},
            reads=edges("a.bin", SMALL_DATA),
        )
    add(
        "annotations-escaped-names-count",
        "The size that has an escape in its name is the size.",
        one('{"siz\\u0065":101}'),
        {"a.bin": SMALL},
        verdict="content",
        differences={"a.bin": "size"},
        reads=edges("a.bin", SMALL_DATA, lazy=error, tables=error, bare=error, size=101),
    )
    add(
        "annotations-similar-names",
        "Names are compared exactly.",
        one('{"Size":1,"SIZE":2,"size ":3,"blake3 ":4,"BLAKE3":5,"sizes":6,"length":7}'),
        {"a.bin": SMALL},
        reads=edges("a.bin", SMALL_DATA, lazy=either),
    )


def duplicates(add):
    """Known members that occur twice (section 5)."""
    right = annotations(SMALL_DATA)
    digest = f'"blake3":"{hexdigest("blake3", SMALL_DATA)}"'
    sha256 = hexdigest("sha256", SMALL_DATA)
    root = hashlib.sha256(bytes.fromhex(sha256)).hexdigest()
    file = [resource("a.bin", SMALL_DATA, annotated=right)]
    annotated = {
        "size": '{"size":100,"size":100}',
        "size-null-first": '{"size":null,"size":100}',
        "size-null-last": '{"size":100,"size":null}',
        "size-other-forms": '{"size":"x","size":[]}',
        "size-escaped": '{"size":100,"\\u0073ize":100}',
        "size-far-apart": f'{{"size":100,{digest},"x":{{"size":1}},"size":100}}',
        "blake3": f"{{{digest},{digest}}}",
        "blake3-null": f'{{"blake3":null,{digest}}}',
        "blake3-other-forms": '{"blake3":1,"blake3":2}',
    }
    cases = {name: one(text) for name, text in annotated.items()}
    for name, more in {
        "annotations": f',"annotations":{right}',
        "annotations-null": ',"annotations":null',
        "annotations-empty": ',"annotations":{}',
        "annotations-no-object": ',"annotations":[]',
        "annotations-escaped": f',"annotation\\u0073":{right}',
        "name": ',"name":"a.bin"',
        "algorithm": ',"algorithm":"sha256"',
        "digest": f',"digest":"{sha256}"',
    }.items():
        cases[name] = statement([resource("a.bin", SMALL_DATA, annotated=right, more=more)])
    cases["annotations-null-twice"] = statement(
        [resource("a.bin", SMALL_DATA, annotated="null", more=',"annotations":null')]
    )
    for name, more in {
        "method": ',"method":"files"',
        "hash_type": ',"hash_type":"sha256"',
        "shard_size": ',"shard_size":null,"shard_size":null',
        "allow_symlinks": ',"allow_symlinks":false',
        "ignore_paths": ',"ignore_paths":[]',
    }.items():
        cases[name] = statement(file, serialization_more=more)
    cases["resources"] = statement(file, predicate_more=',"resources":[]')
    cases["serialization"] = statement(file, predicate_more=',"serialization":{}')
    for name, more in {
        "type": ',"_type":"https://in-toto.io/Statement/v1"',
        "predicateType": ',"predicateType":"https://model_signing/signature/v1.0"',
        "subject": ',"subject":[]',
        "predicate": ',"predicate":{}',
    }.items():
        cases[name] = statement(file, more=more)
    for name, subject in {
        "subject-name": f'{{"name":"m","name":"m","digest":{{"sha256":"{root}"}}}}',
        "subject-digest": f'{{"name":"m","digest":{{"sha256":"{root}"}},"digest":{{}}}}',
        "subject-sha256": f'{{"name":"m","digest":{{"sha256":"{root}","sha256":"{root}"}}}}',
    }.items():
        cases[name] = statement(file, subject=f"[{subject}]")
    for name, text in cases.items():
        add(
            f"twice-{name}",
            "A known member that occurs twice makes the statement malformed.",
            text,
            {"a.bin": SMALL},
            verdict="statement",
        )
    for name, old, new in [
        ("mediaType", '{"mediaType":', '{"mediaType":"x","mediaType":'),
        ("verificationMaterial", '"verificationM', '"verificationMaterial":{},"verificationM'),
        ("dsseEnvelope", '"dsseEnvelope":', '"dsseEnvelope":null,"dsseEnvelope":'),
        ("publicKey", '"publicKey":', '"publicKey":null,"publicKey":'),
        ("hint", '"hint":', '"hint":null,"hint":'),
        ("tlogEntries", '"tlogEntries":[]', '"tlogEntries":[],"tlogEntries":[]'),
        ("payload", '"payload":', '"payload":"e30=","payload":'),
        ("payloadType", '"payloadType":', '"payloadType":"x","payloadType":'),
        ("signatures", '"signatures":', '"signatures":[],"signatures":'),
        ("sig", '"sig":', '"sig":"","sig":'),
        ("sig-escaped", '"sig":', '"\\u0073ig":"","sig":'),
    ]:
        assert old in BUNDLE
        add(
            f"twice-bundle-{name}",
            "A known member of the bundle that occurs twice.",
            statement(file),
            {"a.bin": SMALL},
            verdict="signature",
            template=BUNDLE.replace(old, new),
        )
    add(
        "twice-unknown",
        "Unknown members may occur twice, and have known names inside of them.",
        statement(
            [
                resource(
                    "a.bin",
                    SMALL_DATA,
                    annotated=annotations(SMALL_DATA, x='{"size":1,"size":2}')[:-1] + ',"x":1}',
                    more=',"y":1,"y":[{"annotations":1,"annotations":2}]',
                )
            ],
            more=',"z":1,"z":{"_type":1,"_type":2}',
        ),
        {"a.bin": SMALL},
        reads=edges("a.bin", SMALL_DATA),
    )


def unknown_members(add):
    """What is passed over (section 5)."""
    before, after = one(annotations(SMALL_DATA, x='"@HERE@"')).split('"@HERE@"')
    deep = 10000

    def passed(name, about, parts, **expected):
        add(
            f"unknown-{name}",
            about,
            [before, *parts, after],
            {"a.bin": SMALL},
            **expected,
        )

    both = [{"repeat": '{"a":[', "times": deep}, "1", {"repeat": "]}", "times": deep}]
    nested = [{"repeat": "[", "times": deep}, {"repeat": "]", "times": deep}]
    fine = {"reads": edges("a.bin", SMALL_DATA)}
    passed("deep-arrays", "10,000 arrays in one another.", nested, **fine)
    passed("deep-both", "20,000 arrays and objects in one another.", both, **fine)
    passed(
        "large",
        "A string of a million characters.",
        ['"', {"repeat": "x", "times": 1000000}, '"'],
        **fine,
    )
    passed(
        "many",
        "100,000 members.",
        ["{", {"repeat": '"a":1,', "times": 99999}, '"a":1}'],
        **fine,
    )
    strange = (
        '{"":null,"__proto__":{},"\\u0000":"\\u0000","\\ud800":"\\udfff\\ud800","n":[-0,1e400,'
        '-1E-400,0.0e+0,12345678901234567890123456789012345678901234567890],"s":"\\/\\b\\f\\n",'
        '"e":[[],{},"",[[]],{"":{}}],"t":true,"f":false,"u":"\u00e4\U0001f600\u2028"}'
    )
    passed("strange", "Members that are strange, and JSON.", [strange], **fine)
    for name, about, bad in [
        ("nan", "NaN", "NaN"),
        ("infinity", "Infinity", "[-Infinity]"),
        ("trailing-comma", "A trailing comma", "[1,]"),
        ("trailing-comma-object", "A trailing comma", '{"a":1,}'),
        ("no-comma", "No comma", "[1 2]"),
        ("no-colon", "No colon", '{"a" 1}'),
        ("other-ends", "Ends that don't match", "[{]}"),
        ("comment", "A comment", "1/* */"),
        ("single-quotes", "Single quotes", "'a'"),
        ("bare-name", "A name without quotes", "{a:1}"),
        ("number-as-name", "A number as a name", "{1:1}"),
        ("control-character", "A control character in a string", '"\n"'),
        ("bad-escape", "An escape that is none", '"\\x"'),
        ("short-escape", "An escape that is too short", '"\\u12"'),
        ("bad-number", "A number with a leading zero", "[01]"),
        ("other-white-space", "White space that is none", "[\u00a01]"),
        ("unended", "A string without an end", '"a'),
    ]:
        passed(f"no-json-{name}", f"{about}: no JSON.", [bad], verdict="statement")
    for name, text in {
        "byte": "ff",
        "overlong": "c080",
        "surrogate": "eda080",
        "cut": "c3",
    }.items():
        passed(
            f"no-utf-8-{name}",
            "Bytes that aren't UTF-8 in what would be passed over.",
            ['"', {"hex": text}, '"'],
            verdict="statement",
        )
    add(
        "unknown-size-deep",
        "A size that is 10,000 arrays in one another: of another form.",
        [*(one('{"size":@')[:-2].split("@")[:1]), *nested, one("@}").split("@")[1]],
        {"a.bin": SMALL},
        warnings=[("a.bin", "size")],
        reads=edges("a.bin", SMALL_DATA, lazy=either),
    )
    everywhere = ',"unknown":[{"a":[null,"\\ud800"]}]'
    add(
        "unknown-everywhere",
        "Unknown members in each object.",
        statement(
            [
                resource(
                    "a.bin", SMALL_DATA, annotated=annotations(SMALL_DATA, x="[]"), more=everywhere
                )
            ],
            serialization_more=everywhere,
            predicate_more=everywhere,
            more=everywhere,
        ),
        {"a.bin": SMALL},
        template=BUNDLE.replace('"keyid":""', '"keyid":null' + everywhere)
        .replace('"tlogEntries":[]', '"tlogEntries":[]' + everywhere)
        .replace('{"mediaType"', '{"x":{"mediaType":1,"mediaType":2},"mediaType"'),
        **fine,
    )


def json_texts(add):
    """The text as a whole, and the strings that are looked at."""
    right = one(annotations(SMALL_DATA))
    for name, parts in {
        "byte-order-mark": [{"hex": "efbbbf"}, right],
        "utf-16": [{"hex": right.encode("utf-16").hex()}],
        "empty": [""],
        "white-space": [" \n"],
        "two-values": [right, "{}"],
        "behind": [right, "x"],
        "nul-behind": [right, {"hex": "00"}],
        "cut": [right[:-1]],
        "array": ["[", right, "]"],
        "null": ["null"],
        "string": [json.dumps(right)],
    }.items():
        add(
            f"text-{name}",
            "No statement in JSON.",
            parts,
            {"a.bin": SMALL},
            verdict="statement",
        )
    add(
        "text-white-space-around",
        "White space around the statement.",
        [" \r\n\t", right, "\n\n"],
        {"a.bin": SMALL},
        reads=edges("a.bin", SMALL_DATA),
    )
    half = "\\ud800"
    for name, text in {
        "name": one("{}").replace('"a.bin"', f'"a{half}.bin"'),
        "algorithm": one("{}").replace('"algorithm":"sha256', f'"algorithm":"{half}'),
        "method": one("{}").replace('"files"', f'"{half}"'),
        "ignore-path": one("{}", ignore_paths=f'["{half}"]'),
        "subject": one("{}").replace('"model"', f'"{half}"'),
        "second-half": one("{}").replace('"model"', '"\\udc00\\ud800"'),
        "member-of-statement": one("{}", more=f',"{half}":1'),
        "member-of-resource": statement(
            [resource("a.bin", SMALL_DATA, more=f',"{half}":1')],
        ),
        "member-of-annotations": one(f'{{"{half}":1}}'),
    }.items():
        add(
            f"half-a-pair-{name}",
            "A string that is looked at and is no Unicode.",
            text,
            {"a.bin": SMALL},
            verdict="statement",
        )
    name = "\U0001f600 \u00e4:1:2.bin"
    add(
        "names",
        "Names with escapes, pairs of surrogates, spaces, colons and folders.",
        statement(
            [
                resource(path, SMALL_DATA, annotated=annotations(SMALL_DATA))
                for path in (name, "b/c/d.bin", "b c.bin", "b\\n.bin")
            ]
        ),
        dict.fromkeys((name, "b/c/d.bin", "b c.bin", "b\\n.bin"), SMALL),
        reads=[
            each for path in (name, "b/c/d.bin", "b\\n.bin") for each in edges(path, SMALL_DATA)
        ],
    )
    for name, text in {
        "resources-object": one("{}", resources="{}"),
        "resource-array": one("{}", resources='[["a.bin","sha256","00"]]'),
        "resource-null": one("{}", resources="[null]"),
        "name-number": one("{}").replace('"a.bin"', "1"),
        "allow-symlinks-text": one("{}").replace(
            '"allow_symlinks":false', '"allow_symlinks":"false"'
        ),
        "ignore-paths-text": one("{}", ignore_paths='"x"'),
        "shard-size-text": one("{}", serialization_more=',"shard_size":"1"'),
    }.items():
        add(
            f"type-{name}",
            "A known member of another type.",
            text,
            {"a.bin": SMALL},
            verdict="statement",
        )


def algorithms(add):
    """Which digests are signed, and what follows for reading (4.5, 7.4)."""
    files, tables = {"a.bin": LARGE}, table_of(LARGE_DATA)
    no_root = {"lazy": either}

    def case(name, about, algorithm, annotated, results, warnings=(), **expected):
        add(
            name,
            about,
            statement(
                [resource("a.bin", LARGE_DATA, algorithm, annotated)],
                hash_type=algorithm,
            ),
            files,
            tables,
            warnings=list(warnings),
            reads=edges("a.bin", LARGE_DATA, **({"bare": good} | results)),
            **expected,
        )

    for algorithm in ("sha256", "blake2b"):
        case(
            f"{algorithm}-annotated",
            "Size and BLAKE3 are annotated: with the table, any range is proved by itself.",
            algorithm,
            annotations(LARGE_DATA),
            {},
        )
        case(
            f"{algorithm}-size-alone",
            "No BLAKE3 digest is signed: one full pass.",
            algorithm,
            annotations(LARGE_DATA, blake3=None),
            no_root,
        )
        case(
            f"{algorithm}-blake3-alone",
            "No size is signed: the last chunk proves the length.",
            algorithm,
            annotations(LARGE_DATA, size=None),
            {},
        )
        case(
            f"{algorithm}-plain",
            "Nothing is annotated; the table is of no use.",
            algorithm,
            None,
            no_root,
        )
        case(
            f"{algorithm}-other-forms",
            "Annotations of other forms leave the digest, and a full pass.",
            algorithm,
            annotations(LARGE_DATA, size="1e5", blake3='"x"'),
            no_root,
            warnings=[("a.bin", "size"), ("a.bin", "blake3")],
        )
    upper = hexdigest("blake3", LARGE_DATA).upper()
    for name, annotated, warnings in [
        ("plain", None, []),
        ("size", annotations(LARGE_DATA, blake3=None), []),
        ("equal", annotations(LARGE_DATA), []),
        ("equal-alone", annotations(LARGE_DATA, size=None), []),
        ("of-other-forms", annotations(SMALL_DATA, size="-1", blake3=f'"{upper}"'), "both"),
        ("number", '{"blake3":1}', [("a.bin", "blake3")]),
    ]:
        if warnings == "both":
            warnings = [("a.bin", "size"), ("a.bin", "blake3")]
        case(
            f"blake3-algorithm-{name}",
            "The digest is the root, whatever is annotated.",
            "blake3",
            annotated,
            {},
            warnings=warnings,
        )
    add(
        "blake3-algorithm-other",
        "Two BLAKE3 digests that differ make the statement malformed.",
        statement(
            [resource("a.bin", LARGE_DATA, "blake3", annotations(SMALL_DATA, size=None))],
            hash_type="blake3",
        ),
        files,
        tables,
        verdict="statement",
    )
    add(
        "blake3-algorithm-other-escaped",
        "The same with an escape.",
        statement(
            [resource("a.bin", LARGE_DATA, "blake3", f'{{"blake3":"\\u0030{"0" * 63}"}}')],
            hash_type="blake3",
        ),
        files,
        tables,
        verdict="statement",
    )


def shards(add):
    """Annotations don't count with the method `shards` (4.1)."""
    size = 40000

    def sharded(annotated, algorithm="sha256", **other):
        starts = range(0, len(LARGE_DATA), size)
        pieces = [(start, min(start + size, len(LARGE_DATA))) for start in starts]
        return statement(
            [
                resource(f"a.bin:{start}:{end}", LARGE_DATA[start:end], algorithm, annotated)
                for start, end in pieces
            ],
            method="shards",
            hash_type=algorithm,
            serialization_more=f',"shard_size":{size}',
            **other,
        )

    for name, annotated in {
        "plain": None,
        "annotated": annotations(LARGE_DATA),
        "of-another": annotations(SMALL_DATA),
        "of-other-forms": '{"size":-1,"blake3":[]}',
        "no-object": "[1]",
    }.items():
        add(
            f"shards-{name}",
            "With shards, annotations are ignored, and nothing is warned of.",
            sharded(annotated),
            {"a.bin": LARGE},
            reads=edges("a.bin", LARGE_DATA),
        )
    add(
        "shards-blake3-of-another",
        "With shards, a blake3 that differs from the digest contradicts nothing.",
        sharded(annotations(SMALL_DATA), "blake3"),
        {"a.bin": LARGE},
        reads=edges("a.bin", LARGE_DATA),
    )
    for name, annotated in {
        "size-twice": '{"size":1,"size":1}',
        "blake3-twice": '{"blake3":null,"blake3":1}',
        "half-a-pair": '{"\\ud800":1}',
    }.items():
        add(
            f"shards-{name}",
            "With shards, nothing in the annotations is looked at.",
            sharded(annotated),
            {"a.bin": LARGE},
            reads=edges("a.bin", LARGE_DATA),
        )
    twice = statement(
        [resource("a.bin:0:100", SMALL_DATA, more=',"annotations":1,"annotations":1')],
        method="shards",
        serialization_more=',"shard_size":100',
    )
    add(
        "shards-annotations-twice",
        "The member itself is known, and occurs once.",
        twice,
        {"a.bin": SMALL},
        verdict="statement",
    )
    add(
        "shards-damaged",
        "A shard that differs.",
        sharded(annotations(LARGE_DATA)),
        {"a.bin": recipe("large", len(LARGE_DATA), 39999)},
        verdict="content",
        differences={"a.bin": "digest"},
        reads=[
            read("a.bin", LARGE_DATA, 0, 10, error, error, error),
            read("a.bin", LARGE_DATA, 50000, 10, either, either, either),
        ],
    )


def two_contents(add):
    """Annotations of something else (8.1, 8.2)."""
    first, second = recipe("first", 70000), recipe("second", 70000)
    longer = recipe("second", 140000)
    a, b, c = content(first), content(second), content(longer)
    root_of = f'"{hexdigest("blake3", b)}"'

    def case(name, about, text, has, **expected):
        tables = table_of(b) | table_of(c) | table_of(a)
        add(name, about, text, {"a.bin": has}, tables, **expected)

    both = statement([resource("a.bin", a, annotated=annotations(b))])
    none = {"lazy": error, "tables": error, "bare": error}
    case(
        "two-contents-first",
        "SHA-256 of A and BLAKE3 of B are signed, and A is there.",
        both,
        first,
        verdict="content",
        differences={"a.bin": {"holds": ["sha256"], "differs": ["blake3"]}},
        reads=edges("a.bin", a, **none, size=len(b)),
    )
    case(
        "two-contents-second",
        "SHA-256 of A and BLAKE3 of B are signed, and B is there: it is served with its table.",
        both,
        second,
        verdict="content",
        differences={"a.bin": {"holds": ["blake3"], "differs": ["sha256"]}},
        reads=edges("a.bin", b, lazy=either, tables=either, bare=error, size=len(b)),
    )
    case(
        "two-contents-second-no-size",
        "The same without a signed size.",
        statement([resource("a.bin", a, annotated=annotations(b, size=None))]),
        second,
        verdict="content",
        differences={"a.bin": {"holds": ["blake3"], "differs": ["sha256"]}},
        reads=edges("a.bin", b, lazy=either, tables=either, bare=error),
    )
    case(
        "two-contents-neither",
        "Neither A nor B is there.",
        both,
        recipe("third", 70000),
        verdict="content",
        differences={"a.bin": {"holds": [], "differs": ["blake3", "sha256"]}},
        reads=edges("a.bin", a, **none, size=len(b)),
    )
    case(
        "two-contents-lengths-first",
        "B is longer than A, its size is signed, and A is there.",
        statement([resource("a.bin", a, annotated=annotations(c))]),
        first,
        verdict="content",
        differences={"a.bin": "size"},
        reads=edges("a.bin", a, **none, size=len(c)),
    )
    case(
        "two-contents-lengths-second",
        "B is longer than A, the size of A is signed, and B is there.",
        statement([resource("a.bin", a, annotated=annotations(c, size=str(len(a))))]),
        longer,
        verdict="content",
        differences={"a.bin": "size"},
        reads=edges("a.bin", c, **none, size=len(a)),
    )
    case(
        "two-contents-one-begins-the-other",
        "SHA-256 of A and BLAKE3 of its beginning B, no size: A is there, and B is served.",
        statement([resource("a.bin", c, annotated=annotations(b, size=None))]),
        longer,
        verdict="content",
        differences={"a.bin": {"holds": ["sha256"], "differs": ["blake3"]}},
        reads=edges("a.bin", b, lazy=either, tables=either, bare=error),
    )
    small, other = recipe("first", 5000), recipe("second", 5000)
    text = statement([resource("a.bin", content(small), annotated=annotations(content(other)))])
    case(
        "two-contents-small-first",
        "A file of one chunk: A is there.",
        text,
        small,
        verdict="content",
        differences={"a.bin": {"holds": ["sha256"], "differs": ["blake3"]}},
        reads=edges("a.bin", content(small), **none, size=5000),
    )
    case(
        "two-contents-small-second",
        "A file of one chunk: B is there. D need not be looked at.",
        text,
        other,
        verdict="content",
        differences={"a.bin": {"holds": ["blake3"], "differs": ["sha256"]}},
        reads=edges("a.bin", content(other), lazy=either, tables=either, bare=either),
    )
    add(
        "annotations-of-another-file",
        "Two files, each with the annotations of the other: right digests, of something else.",
        statement(
            [
                resource("a.bin", a, annotated=annotations(b)),
                resource("b.bin", b, annotated=annotations(a)),
                resource("c.bin", a, annotated=annotations(a)),
            ]
        ),
        {"a.bin": first, "b.bin": second, "c.bin": first},
        table_of(a) | table_of(b),
        verdict="content",
        differences={
            "a.bin": {"holds": ["sha256"], "differs": ["blake3"]},
            "b.bin": {"holds": ["sha256"], "differs": ["blake3"]},
        },
        reads=[
            *edges("a.bin", a, **none, size=len(b)),
            *edges("b.bin", b, **none, size=len(a)),
            *edges("c.bin", a),
        ],
    )
    for name, wrong in [("one-less", len(b) - 1), ("one-more", len(b) + 1)]:
        for algorithm in ("sha256", "blake3"):
            add(
                f"size-{name}-{algorithm}",
                "Right digests and a wrong size: the table is for another length.",
                statement(
                    [resource("a.bin", b, algorithm, annotations(b, size=str(wrong)))],
                    hash_type=algorithm,
                ),
                {"a.bin": second},
                table_of(b),
                verdict="content",
                differences={"a.bin": "size"},
                reads=edges("a.bin", b, **none, size=wrong),
            )
        forged = table.encode(wrong, blake3.digest(b), values_of(b)).hex()
        add(
            f"size-{name}-and-table",
            "A wrong size and a table that says the same: the last chunk fails.",
            statement([resource("a.bin", b, annotated=annotations(b, size=str(wrong)))]),
            {"a.bin": second},
            {table.name(blake3.digest(b)): forged},
            verdict="content",
            differences={"a.bin": "size"},
            reads=[
                read("a.bin", b, 0, 10, either, either, error),
                read("a.bin", b, len(b) - 10, 20, error, error, error),
            ],
        )
    assert root_of


def table_files(add):
    """Tables that may be used, and others (6.6)."""
    data, root = LARGE_DATA, blake3.digest(LARGE_DATA)
    values = values_of(data)
    name = table.name(root)
    right = table.encode(len(data), root, values)
    other = content(recipe("other", len(data)))
    quad = recipe("quad", 4 * CHUNK)
    sized, unsized = annotations(data), annotations(data, size=None)

    def changed(offset, new):
        return right[:offset] + new + right[offset + len(new) :]

    def case(name_of_case, about, bytes_of_table, under=name, usable=False):
        for suffix, annotated in [("", sized), ("-no-size", unsized)]:
            add(
                f"table-{name_of_case}{suffix}",
                about,
                statement([resource("a.bin", data, annotated=annotated)]),
                {"a.bin": LARGE},
                {under: bytes_of_table.hex()},
                reads=[
                    read("a.bin", data, *each, lazy=good if usable else error)
                    for each in [(0, 10), (2 * CHUNK - 3, 100)]
                ],
            )

    case("right", "A table that may be used.", right, usable=True)
    case(
        "private-bytes",
        "The bytes for private use mean nothing.",
        changed(96, bytes(range(1, 33))),
        usable=True,
    )
    case("magic", "Another magic.", changed(0, b"MFSTABLF"))
    for version in (0, 2, 1 << 24):
        case(f"version-{version}", "Another version.", changed(8, version.to_bytes(4, "little")))
    for offset in (13, 14, 15, 88, 95):
        case(f"reserved-{offset}", "A byte that must be zero.", changed(offset, b"\1"))
    for log2 in (0, 15, 17, 24, 25, 255):
        case(
            f"chunk-size-{log2}",
            "Another chunk size than the length has.",
            changed(12, bytes([log2])),
        )
    for length in (
        0,
        CHUNK,
        len(data) - 1,
        len(data) + 1,
        3 * CHUNK,
        3 * CHUNK + 1,
        2**37,
        2**45,
        2**63,
        2**64 - 1,
    ):
        case(
            f"length-{length}",
            "Another length in the header.",
            changed(16, length.to_bytes(8, "little")),
        )
    case("identity", "Another identity in the header.", changed(24, table.identity(bytes(32))))
    case("root", "Another root in the header.", changed(56, blake3.digest(other)))
    for length in (0, 8, 127, 128, 160, len(right) - 32, len(right) - 1):
        case(f"cut-{length}", "A table that is too short.", right[:length])
    case("byte-behind", "A byte behind the last value.", right + b"\0")
    case("value-behind", "A value behind the last one.", right + values[2])
    for index in range(3):
        at = 128 + 32 * index
        case(f"value-{index}", "A value with one other bit.", changed(at, bytes([right[at] ^ 1])))
    case(
        "values-swapped",
        "Two values in another order.",
        right[:128] + values[1] + values[0] + values[2],
    )
    case(
        "values-of-another", "The values of another file.", right[:128] + b"".join(values_of(other))
    )
    case(
        "of-another",
        "The table of another file under this name.",
        bytes.fromhex(*table_of(other).values()),
    )
    case("zeros", "Nothing but zeros.", bytes(len(right)))
    whole_sha256 = b"\x00\x06sha256" + hashlib.sha256(data).digest()
    for case_name, about, under in [
        (
            "under-another-root",
            "The right table under the name of another.",
            table.name(blake3.digest(other)),
        ),
        (
            "under-sha256",
            "The right table under the identity of the SHA-256 digest: not where it is looked for.",
            blake3.derive_key(table.CONTEXT, whole_sha256).hex() + ".table",
        ),
        (
            "under-the-root",
            "The right table under its root instead of its identity.",
            f"{root.hex()}.table",
        ),
        (
            "upper-case",
            "The right table under its identity in upper case.",
            table.identity(root).hex().upper() + ".table",
        ),
        (
            "other-suffix",
            "The right table with another suffix.",
            table.identity(root).hex() + ".tab",
        ),
        ("in-a-folder", "The right table in a folder.", f"v1/{name}"),
    ]:
        case(case_name, about, right, under=under)

    four, four_root = content(quad), blake3.digest(content(quad))
    four_values = values_of(four)
    above = blake3.parents(
        [four_values[0] + four_values[1], four_values[2] + four_values[3]], blake3.IV, 0
    )
    assert blake3.merge(above) == four_root
    for suffix, annotated in [
        ("", annotations(four)),
        ("-no-size", annotations(four, size=None)),
    ]:
        add(
            f"table-of-larger-subtrees{suffix}",
            "Two values of two chunks each merge to the root, and claim a file of two chunks.",
            statement([resource("a.bin", four, annotated=annotated)]),
            {"a.bin": quad},
            {table.name(four_root): table.encode(2 * CHUNK, four_root, above).hex()},
            reads=[
                read("a.bin", four, *each, lazy=error)
                for each in [(0, 10), (2 * CHUNK - 5, 10), (3 * CHUNK, CHUNK)]
            ],
        )
    add(
        "table-of-larger-subtrees-and-size",
        "The same, and the signer says so: no chunk has such a value.",
        statement([resource("a.bin", four, annotated=annotations(four, size=str(2 * CHUNK)))]),
        {"a.bin": quad},
        {table.name(four_root): table.encode(2 * CHUNK, four_root, above).hex()},
        verdict="content",
        differences={"a.bin": "size"},
        reads=[
            read("a.bin", four, *each, lazy=error, tables=error, bare=error)
            for each in [(0, 10), (2 * CHUNK - 5, 5)]
        ],
    )
    small_root = blake3.digest(SMALL_DATA)
    add(
        "table-of-a-small-file",
        "A file of one chunk has no table; one that is there plays no part.",
        one(annotations(SMALL_DATA)),
        {"a.bin": SMALL},
        {table.name(small_root): changed(24, table.identity(small_root) + small_root).hex()},
        reads=edges("a.bin", SMALL_DATA),
    )
    add(
        "table-shared",
        "Two files with the same content share a table, under different hashes' names too.",
        statement(
            [
                resource("a.bin", data, annotated=sized),
                resource("b/a.bin", data, annotated=unsized),
            ]
        ),
        {"a.bin": LARGE, "b/a.bin": LARGE},
        table_of(data),
        reads=[*edges("a.bin", data), *edges("b/a.bin", data)],
    )


def damage(add):
    """Content that isn't what was signed (7.3, 7.4)."""
    seed, length = "large", len(LARGE_DATA)
    cases = {
        "flip-first": recipe(seed, length, 0),
        "flip-middle": recipe(seed, length, CHUNK + 5),
        "flip-last": recipe(seed, length, length - 1),
        "flip-border": recipe(seed, length, CHUNK - 1, CHUNK),
        "cut-by-one": recipe(seed, length - 1),
        "cut-at-first-chunk": recipe(seed, CHUNK),
        "cut-in-first-chunk": recipe(seed, 1000),
        "cut-to-nothing": recipe(seed, 0),
        "longer-by-one": recipe(seed, length + 1),
        "longer-by-a-chunk": recipe(seed, length + CHUNK),
        "of-another": recipe("other", length),
    }
    ranges = [
        (0, 10),
        (CHUNK + 100, 10),
        (length - 1, 10),
        (0, length),
        (length, 5),
    ]

    def has_range(there, offset, size):
        """Whether these bytes are there as they were signed."""
        wanted = LARGE_DATA[offset : offset + size]
        return there[offset : offset + len(wanted)] == wanted

    for name, there in cases.items():
        actual = content(there)
        for suffix, algorithm, annotated in [
            ("", "sha256", annotations(LARGE_DATA)),
            ("-no-size", "sha256", annotations(LARGE_DATA, size=None)),
            ("-blake3", "blake3", None),
            ("-size-alone", "sha256", annotations(LARGE_DATA, blake3=None)),
        ]:
            has_size = annotated is not None and '"size"' in annotated
            if has_size and len(actual) != length:
                difference = "size"
            else:
                signed = {algorithm} | ({"blake3"} if suffix in ("", "-no-size") else set())
                difference = {"holds": [], "differs": sorted(signed)}
            # Whatever can be told of these files is an error or what was signed.
            reads = []
            for each in ranges:
                # A chunk of the range that is damaged in another place isn't delivered either.
                start = each[0] // CHUNK * CHUNK
                end = -(-min(each[0] + each[1], length) // CHUNK) * CHUNK
                possible = either if has_range(actual, start, end - start) else error
                if not has_size and not has_range(actual, 2 * CHUNK, 1):
                    # The last chunk proves no length.
                    possible = error
                # A full pass may stop at the signed size.
                is_longer = has_size and has_range(actual, 0, length)
                bare = either if is_longer else error
                if suffix == "-size-alone":
                    # Proved as a whole, of as many bytes as were signed.
                    possible = bare = either if has_range(actual, 0, length) else error
                results = {"lazy": possible, "tables": possible, "bare": bare}
                signed_size = length if has_size else None
                reads.append(read("a.bin", LARGE_DATA, *each, **results, size=signed_size))
            add(
                f"damage-{name}{suffix}",
                "What differs is seen: by the whole, and by each range that needs it.",
                statement(
                    [resource("a.bin", LARGE_DATA, algorithm, annotated)], hash_type=algorithm
                ),
                {"a.bin": there},
                table_of(LARGE_DATA),
                verdict="content",
                differences={"a.bin": difference},
                reads=reads,
            )

    for name, there in {
        "flip": recipe("small", 100, 50),
        "cut": recipe("small", 99),
        "longer": recipe("small", 101),
        "large": recipe("small", CHUNK + 1),
        "empty": recipe("small", 0),
    }.items():
        for suffix, annotated in [
            ("", annotations(SMALL_DATA)),
            ("-no-size", annotations(SMALL_DATA, size=None)),
        ]:
            grown = len(content(there)) > 100
            possible = either if grown and suffix == "" else error
            difference = {"holds": [], "differs": ["blake3", "sha256"]}
            if suffix == "" and len(content(there)) != 100:
                difference = "size"
            add(
                f"damage-small-{name}{suffix}",
                "A file of one chunk that differs.",
                one(annotated),
                {"a.bin": there},
                verdict="content",
                differences={"a.bin": difference},
                reads=edges(
                    "a.bin",
                    SMALL_DATA,
                    lazy=possible,
                    tables=possible,
                    bare=possible,
                    size=100 if suffix == "" else None,
                ),
            )
    none = {"lazy": error, "tables": error, "bare": error}
    add(
        "names-missing",
        "A signed file isn't there.",
        statement(
            [
                resource(name, SMALL_DATA, annotated=annotations(SMALL_DATA))
                for name in ("a.bin", "b.bin")
            ]
        ),
        {"a.bin": SMALL},
        verdict="content",
        differences={"b.bin": "missing"},
        reads=[read("b.bin", SMALL_DATA, 0, 10, **none)],
    )
    add(
        "names-unsigned",
        "A file that isn't signed; what is ignored isn't looked at.",
        one(annotations(SMALL_DATA), ignore_paths='[".model-fs","model.sig","x"]'),
        {"a.bin": SMALL, "b.bin": SMALL, "x/y.bin": SMALL, ".git/z": SMALL},
        verdict="content",
        differences={"b.bin": "unsigned"},
        reads=[read("b.bin", SMALL_DATA, 0, 10, **none)],
    )


def lengths(add):
    """Files of lengths at which something changes."""
    sizes = [0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 131072, 131073, 200000]
    files = {f"{size}.bin": recipe(f"length {size}", size) for size in sizes}
    data = {name: content(made) for name, made in files.items()}
    tables = {}
    for each in data.values():
        tables |= table_of(each)
    for name, algorithm, annotate in [
        ("annotated", "sha256", annotations),
        ("no-size", "sha256", lambda each: annotations(each, size=None)),
        ("blake3", "blake3", lambda each: None),
        ("blake3-size", "blake3", lambda each: annotations(each, blake3=None)),
    ]:
        reads = []
        for file, each in data.items():
            needs_table = len(each) > CHUNK
            found = edges(file, each)
            assert all(bool(tables) or not needs_table for _ in found)
            reads += found
        add(
            f"lengths-{name}",
            "Files of lengths at which something changes.",
            statement(
                [resource(file, each, algorithm, annotate(each)) for file, each in data.items()],
                hash_type=algorithm,
            ),
            files,
            tables,
            reads=reads,
        )
        longer = [size for size in sizes if size > CHUNK]
        add(
            f"lengths-{name}-no-tables",
            "The same files without tables: the large ones take a full pass.",
            statement(
                [resource(file, each, algorithm, annotate(each)) for file, each in data.items()],
                hash_type=algorithm,
            ),
            files,
            reads=[read(f"{size}.bin", data[f"{size}.bin"], 0, 100, lazy=error) for size in longer]
            + edges("65536.bin", data["65536.bin"])
            + edges("0.bin", data["0.bin"]),
        )


def signatures(add):
    """Bundles (7.1)."""
    text = one(annotations(SMALL_DATA))
    files = {"a.bin": SMALL}

    def refused(name, about, **made):
        add(f"bundle-{name}", about, text, files, verdict="signature", **made)

    def accepted(name, about, **made):
        add(f"bundle-{name}", about, text, files, reads=edges("a.bin", SMALL_DATA), **made)

    refused("other-key", "Signed by another key.", key=OTHER_KEY)
    refused(
        "other-hint",
        "The hint names another key.",
        template=BUNDLE.replace("@HINT@", "0" * 64),
    )
    refused("payload-changed", "Another size was signed.", signed=[text.replace("100", "101")])
    refused("other-media-type", "Another media type.", template=BUNDLE.replace("v0.3", "v0.2"))
    refused(
        "other-payload-type", "Another payload type.", template=BUNDLE.replace("in-toto", "in-tot0")
    )
    refused(
        "no-signature", "No signature.", template=BUNDLE.replace('{"sig":"@SIG@","keyid":""}', "")
    )
    refused(
        "two-signatures",
        "Two signatures.",
        template=BUNDLE.replace('{"sig":"@SIG@","keyid":""}', '{"sig":"@SIG@"},{"sig":"@SIG@"}'),
    )
    refused(
        "no-base64",
        "A payload that isn't base64.",
        template=BUNDLE.replace("@PAYLOAD@", "@PAYLOAD@ "),
    )
    refused("no-material", "No key.", template=BUNDLE.replace('"publicKey"', '"key"'))
    refused(
        "two-materials",
        "A key and a certificate.",
        template=BUNDLE.replace('"publicKey"', '"certificate":{"rawBytes":"AAAA"},"publicKey"'),
    )
    refused(
        "envelope-array",
        "An array where an object belongs.",
        template=BUNDLE.replace('"dsseEnvelope":', '"dsseEnvelope":[').replace("}]}}\n", "}]}]}\n"),
    )
    refused("behind", "Something behind the bundle.", template=BUNDLE + "x")
    refused("cut", "A bundle that ends early.", template=BUNDLE[:-2])
    refused("empty", "Nothing.", template="")
    accepted("hint-null", "No hint.", template=BUNDLE.replace('"@HINT@"', "null"))
    accepted("hint-empty", "An empty hint.", template=BUNDLE.replace("@HINT@", ""))
    accepted("hint-absent", "No hint.", template=BUNDLE.replace('"hint":"@HINT@"', ""))
    accepted(
        "old-key-bytes",
        "What a bundle says about its key is never used.",
        template=BUNDLE.replace('"hint":"@HINT@"', '"rawBytes":"AAAA","keyDetails":"x"'),
    )
    accepted(
        "null-materials",
        "Other material that is null.",
        template=BUNDLE.replace('"publicKey"', '"certificate":null,"publicKey"'),
    )
    accepted(
        "escapes",
        "Escapes in the bundle.",
        template=BUNDLE.replace('"payload"', '"p\\u0061yload"').replace("in-toto", "in-tot\\u006f"),
    )


def statements(add):
    """Rules that the annotations don't change (7.2)."""
    annotated = annotations(SMALL_DATA)
    files = {"a.bin": SMALL}
    file = resource("a.bin", SMALL_DATA, annotated=annotated)

    def refused(name, about, text):
        add(f"statement-{name}", about, text, files, verdict="statement")

    for minor in ("1", "17"):
        add(
            f"statement-version-1.{minor}",
            "A later minor version.",
            statement([file], predicate_type=f'"https://model_signing/signature/v1.{minor}"'),
            files,
            reads=edges("a.bin", SMALL_DATA),
        )
    for name in ("v2.0", "v1.", "v1.01", "v1"):
        refused(
            f"version-{name}",
            "Another version.",
            statement([file], predicate_type=f'"https://model_signing/signature/{name}"'),
        )
    refused("type", "Another type.", statement([file], type='"https://in-toto.io/Statement/v0.1"'))
    refused("root", "Another root digest.", statement([file], root="0" * 64))
    refused("no-subject", "No subject.", statement([file], subject="[]"))
    refused(
        "two-subjects",
        "Two subjects.",
        statement(
            [file], subject="[{0},{0}]".format(f'{{"name":"m","digest":{{"sha256":"{"0" * 64}"}}}}')
        ),
    )
    refused("no-resources", "No resources.", statement([]))
    refused("method", "Another method.", statement([file], method="chunks"))
    refused("hash", "Another hash.", statement([file], hash_type="md5"))
    refused(
        "other-algorithm",
        "An algorithm that isn't hash_type.",
        statement([file], hash_type="blake3"),
    )
    refused("two-names", "A name twice.", statement([file, file]))
    refused(
        "in-a-file",
        "A file that is a directory of another.",
        statement([file, resource("a.bin/b", SMALL_DATA, annotated=annotated)]),
    )
    for name in ("/a", "../a", "a/../b", "./a", "a//b", "a/", "", "a\0b"):
        shown = name.replace("/", "_").replace("\0", "nul") or "empty"
        refused(
            f"path-{shown}",
            "A name that is no path in the model.",
            statement([resource(name, SMALL_DATA, annotated=annotated)]),
        )
    refused(
        "ignored",
        "A file that is listed and ignored.",
        statement([file], ignore_paths='["a.bin"]'),
    )
    digest = hexdigest("sha256", SMALL_DATA)
    for name, other in [("upper-case", digest.upper()), ("short", digest[:-2])]:
        refused(
            f"digest-{name}",
            "A digest of another form, which isn't an annotation.",
            one(annotated).replace(f'"digest":"{digest}"', f'"digest":"{other}"'),
        )


GROUPS = (
    annotation_forms,
    duplicates,
    unknown_members,
    json_texts,
    algorithms,
    shards,
    two_contents,
    table_files,
    damage,
    lengths,
    signatures,
    statements,
)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "vectors")
    vectors = Vectors()
    for group in GROUPS:
        group(vectors.add)
    vectors.write(folder)
    print(f"{len(vectors.all)} vectors")


if __name__ == "__main__":
    main()
