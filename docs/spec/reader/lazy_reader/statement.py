"""What was signed (section 7.2), and the annotations in it (section 4)."""

import hashlib
import re
from dataclasses import dataclass, field

from . import json_strict as js

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = re.compile(r"https://model_signing/signature/v1\.(0|[1-9][0-9]*)")
SHARD_NAME = re.compile(r"(.*):(0|[1-9][0-9]*):(0|[1-9][0-9]*)", re.DOTALL)
DIGEST_LENGTH = {"sha256": 32, "blake2b": 64, "blake3": 32}

LARGEST_SIZE = 2**63 - 1
DIGITS_ALONE = re.compile(r"[0-9]+")
BLAKE3_HEX = re.compile(r"[0-9a-f]{64}")

# OMS, 6.2: never part of a model, at its root.
NEVER_SIGNED = (".git", ".gitignore", ".gitattributes", ".github")

STATEMENT = js.members({
    "_type": js.string,
    "predicateType": js.string,
    "subject": js.array_of(js.members({
        "name": js.string,
        "digest": js.members({"sha256": js.or_null(js.string)}),
    })),
    "predicate": js.or_null(js.members({
        "serialization": js.or_null(js.members({
            "method": js.string,
            "hash_type": js.string,
            "shard_size": js.or_null(js.number),
            "allow_symlinks": js.or_null(js.boolean),
            "ignore_paths": js.or_null(js.array_of(js.string)),
        })),
        "resources": js.or_null(js.array_of(js.members({
            "name": js.string,
            "algorithm": js.string,
            "digest": js.string,
            "annotations": js.anything,
        }))),
    })),
})  # fmt: skip


ANNOTATIONS = js.members({"size": js.anything, "blake3": js.anything})


class BadStatement(Exception):
    """What was signed breaks a rule."""


@dataclass
class Shard:
    start: int
    end: int
    digest: bytes


@dataclass
class SignedFile:
    """What is signed about a file: the digest of all of it, or shards."""

    algorithm: str
    digest: bytes = None
    shards: list = field(default_factory=list)
    size: int = None
    blake3: bytes = None

    @property
    def digests(self):
        """Algorithm → digest, for each digest that is signed of the whole file."""
        signed = {self.algorithm: self.digest}
        if self.blake3 is not None:
            signed["blake3"] = self.blake3
        return signed

    @property
    def root(self):
        """R, if there is one."""
        return self.digests.get("blake3")


@dataclass
class Statement:
    files: dict  # path → SignedFile
    has_shards: bool
    allow_symlinks: bool
    ignore_paths: list
    warnings: list  # (file, member) of annotations that are ignored

    def ignores(self, path):
        ignored = (*NEVER_SIGNED, *self.ignore_paths)
        return any(is_within(path, other) for other in ignored)


def is_within(path, other):
    return path == other or path.startswith(other + "/")


def parse(payload):
    """The statement in a payload whose signature holds."""
    try:
        return judge(js.parse(payload, STATEMENT))
    except js.Malformed as error:
        raise BadStatement(str(error)) from None


def need(condition, otherwise):
    if not condition:
        raise BadStatement(otherwise)


def judge(stated):
    need(js.required(stated, "_type") == STATEMENT_TYPE, "another type of statement")
    predicate_type = js.required(stated, "predicateType")
    need(PREDICATE_TYPE.fullmatch(predicate_type), "another predicate type")

    subjects = js.required(stated, "subject")
    need(len(subjects) == 1, f"{len(subjects)} subjects")
    need(js.required(subjects[0], "name") != "", "a subject without a name")
    root_digest = js.required(js.required(subjects[0], "digest"), "sha256")

    predicate = js.required(stated, "predicate")
    serialization = js.required(predicate, "serialization")
    method = js.required(serialization, "method")
    need(method in ("files", "shards"), "unknown method")
    hash_type = js.required(serialization, "hash_type")
    need(hash_type in DIGEST_LENGTH, "unknown hash")
    algorithms, shard_size = [hash_type], None
    if method == "shards":
        shard_size = whole_number(js.required(serialization, "shard_size"))
        algorithms.append(f"{hash_type}-sharded-{shard_size}")

    resources = js.required(predicate, "resources")
    need(resources, "no resources")
    digests = []
    for resource in resources:
        name, algorithm, digest = (
            js.required(resource, member) for member in ("name", "algorithm", "digest")
        )
        need(algorithm in algorithms, f"{name!r}: another algorithm")
        digits = 2 * DIGEST_LENGTH[hash_type]
        need(re.fullmatch(f"[0-9a-f]{{{digits}}}", digest), f"{name!r}: no digest of {hash_type}")
        digests.append(bytes.fromhex(digest))
    computed = hashlib.sha256(b"".join(digests)).hexdigest()
    need(root_digest == computed, "another root digest")

    warnings = []
    if method == "shards":
        files = sharded_files(resources, digests, hash_type, shard_size)
    else:
        files = {}
        for resource, digest in zip(resources, digests, strict=True):
            name = resource["name"]
            need(name not in files, f"{name!r} is listed twice")
            files[name] = whole_file(resource, digest, warnings)

    statement = Statement(
        files=files,
        has_shards=method == "shards",
        allow_symlinks=bool(serialization.get("allow_symlinks")),
        ignore_paths=serialization.get("ignore_paths") or [],
        warnings=warnings,
    )
    check_names(statement)
    return statement


def whole_file(resource, digest, warnings):
    """A resource of the method `files`, with its annotations."""
    name, algorithm = resource["name"], resource["algorithm"]
    size, blake3, ignored = annotations_of(resource)
    warnings.extend((name, member) for member in ignored)
    contradicts = algorithm == "blake3" and blake3 is not None and blake3 != digest
    need(not contradicts, f"{name!r}: two different BLAKE3 digests")
    return SignedFile(algorithm, digest, size=size, blake3=blake3)


def annotations_of(resource):
    """Size, BLAKE3 digest, and the names of what is ignored (4.1 to 4.3)."""
    stated = resource.get("annotations", "null")
    if not stated.startswith("{"):
        return None, None, [] if stated == "null" else ["annotations"]
    annotations = js.parse(stated.encode(), ANNOTATIONS)
    ignored = []

    def value(member, form):
        text = annotations.get(member, "null")
        if text == "null":
            return None
        found = form(text)
        if found is None:
            ignored.append(member)
        return found

    return value("size", as_size), value("blake3", as_blake3), ignored


def as_size(text):
    # Leading zeros are no JSON, so they aren't met here. Longer ones would be slow to convert.
    if DIGITS_ALONE.fullmatch(text) and len(text) <= len(str(LARGEST_SIZE)):
        size = int(text)
        return size if size <= LARGEST_SIZE else None
    return None


def as_blake3(text):
    if not text.startswith('"'):
        return None
    try:
        digits = js.unescape(text)
    except js.Malformed:
        return None
    return bytes.fromhex(digits) if BLAKE3_HEX.fullmatch(digits) else None


def whole_number(text):
    """A shard size: `100` or, as some write it, `100.0` or `1e2`."""
    if DIGITS_ALONE.fullmatch(text) and len(text) <= 20:
        value = int(text)
    else:
        value = float(text)
        need(value <= 2**53 and value.is_integer(), "no shard size")
    need(0 < value < 2**64, "no shard size")
    return int(value)


def sharded_files(resources, digests, hash_type, shard_size):
    """The files that ranges make (OMS, 6.3.2)."""
    files = {}
    for resource, digest in zip(resources, digests, strict=True):
        parts = SHARD_NAME.fullmatch(resource["name"])
        need(parts, f"{resource['name']!r}: no name of a shard")
        path, start, end = parts.groups()
        need(max(len(start), len(end)) <= 20, "a range beyond 2^64")
        shard = Shard(int(start), int(end), digest)
        files.setdefault(path, SignedFile(hash_type)).shards.append(shard)
    for path, file in files.items():
        file.shards.sort(key=lambda shard: (shard.start, shard.end))
        at = 0
        for shard in file.shards:
            need(shard.start == at, f"{path!r}: a gap or an overlap at {at}")
            is_last = shard is file.shards[-1]
            length = shard.end - shard.start
            need(
                length == shard_size or is_last and 0 < length < shard_size,
                f"{path!r}: a shard of another size",
            )
            at = shard.end
        file.size = at
    return files


def check_names(statement):
    for path in statement.files:
        components = path.split("/")
        need(not set(components) & {"", ".", ".."}, f"{path!r}: no path")
        need("\0" not in path, f"{path!r}: a NUL")
        need(max(len(part.encode()) for part in components) <= 255, "a long component")
        need(len(path.encode()) <= 4095, "a long path")
        above = ("/".join(components[:end]) for end in range(1, len(components)))
        need(not any(directory in statement.files for directory in above), f"{path!r}: in a file")
        ignored = any(is_within(path, other) for other in statement.ignore_paths)
        need(not ignored, f"{path!r}: listed and ignored")
