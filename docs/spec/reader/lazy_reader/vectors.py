"""Test vectors (section 9): models are made of them and judged."""

import base64
import hashlib
import json
import os
import tempfile

from . import bundle, lazy, table, verify

BLOCK = hashlib.sha256().digest_size


def content(recipe):
    """The bytes of a recipe."""
    seed, length = recipe["seed"].encode(), recipe["len"]
    blocks = range(-(-length // BLOCK))
    data = bytearray(
        b"".join(hashlib.sha256(seed + i.to_bytes(8, "little")).digest() for i in blocks)[:length]
    )
    for offset in recipe.get("flip", []):
        data[offset] ^= 1
    return bytes(data)


def payload(parts):
    """The bytes of a payload."""
    return b"".join(map(part, parts))


def part(stated):
    if isinstance(stated, str):
        return stated.encode()
    if "hex" in stated:
        return bytes.fromhex(stated["hex"])
    return stated["repeat"].encode() * stated["times"]


def write(vector, model):
    """Makes the model of a vector."""
    for path, recipe in vector["files"].items():
        put(os.path.join(model, path), content(recipe))
    for name, data in vector["tables"].items():
        put(os.path.join(model, table.FOLDER, name), bytes.fromhex(data))
    encoded = base64.b64encode(payload(vector["payload"])).decode()
    put(os.path.join(model, "model.sig"), vector["bundle"].replace("@PAYLOAD@", encoded).encode())


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def outcome(model, path, offset, length, **allowed):
    """What comes of reading a range, in the form that vectors have."""
    try:
        data = lazy.read(model, path, offset, length, **allowed)
    except (lazy.NeedsPass, lazy.Unproved):
        return "error"
    return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def outcomes(model, read):
    """The three results of a read."""
    wanted = read["file"], read["offset"], read["len"]
    return {
        "lazy": outcome(model, *wanted, may_pass=False),
        "tables": outcome(model, *wanted),
        "bare": outcome(model, *wanted, tables=False),
    }


def fits(found, stated):
    """Whether an outcome is one that the vector allows."""
    if isinstance(stated, dict) and stated.get("or_error"):
        bytes_alone = {name: value for name, value in stated.items() if name != "or_error"}
        return found in ("error", bytes_alone)
    return found == stated


def judge(model, trusted, reads=()):
    """Everything that a vector states, found out."""
    verdict, warnings, differences, _ = verify.judge(model, trusted)
    found = {"verdict": verdict}
    if verdict in ("ok", "content"):
        found["warnings"] = [list(warning) for warning in warnings]
        if differences:
            found["differences"] = differences
        signed = verify.SignedModel(model, trusted)
        found["reads"] = [outcomes(signed, read) for read in reads]
    return found


def faults(vector, trusted):
    """How the reader's findings differ from what a vector states."""
    with tempfile.TemporaryDirectory() as folder:
        write(vector, folder)
        found = judge(folder, trusted, vector.get("reads", []))
    for member in ("verdict", "warnings", "differences"):
        if found.get(member) != vector.get(member):
            yield f"{member}: {found.get(member)}, not {vector.get(member)}"
    for read, results in zip(vector.get("reads", []), found.get("reads", []), strict=False):
        for kind, result in results.items():
            if not fits(result, read[kind]):
                where = f"{read['file']} {read['offset']}+{read['len']}"
                yield f"read {where}, {kind}: {result}, not {read[kind]}"


def check(folder):
    """Checks all vectors of a folder; gives how many there are, and the faults."""
    with open(os.path.join(folder, "key.pem"), "rb") as file:
        trusted = bundle.TrustedKey(file.read())
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    found = []
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            vector = json.load(file)
        found += (f"{name}: {fault}" for fault in faults(vector, trusted))
    return len(names), found
