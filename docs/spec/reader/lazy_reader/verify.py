"""Verifying a whole model (sections 7.1 to 7.3), and the full pass over a file."""

import hashlib
import os

from . import blake3, bundle, source, statement, table

PIECE = table.SMALL

# Verdicts, and how a program that ends with one exits.
EXIT = {"ok": 0, "signature": 3, "statement": 3, "content": 4}


class SignedModel:
    """A model whose signature holds and whose statement is well-formed."""

    def __init__(self, model, trusted, signature=None):
        self.source = source.Source(model)
        signature = signature or self.source.signature()
        with open(signature, "rb") as file:
            document = file.read(bundle.LARGEST + 1)
        if len(document) > bundle.LARGEST:
            raise bundle.BadSignature("the bundle is too large")
        self.statement = statement.parse(bundle.signed_payload(document, trusted))
        self.signature = os.path.realpath(signature)

    def open(self, path):
        return self.source.open(path, self.statement.allow_symlinks)

    def name_differences(self):
        """Path → what is wrong, for names alone (7.3, step 1)."""
        signed, follow = self.statement, self.statement.allow_symlinks

        def passed_over(path):
            whole = os.path.realpath(os.path.join(self.source.root, path))
            return path not in signed.files and (signed.ignores(path) or whole == self.signature)

        differences = dict.fromkeys(signed.files, "missing")
        for path in self.source.names(passed_over, follow):
            if path not in signed.files:
                if not (signed.has_shards and self.is_empty(path)):
                    differences[path] = "unsigned"
                continue
            try:
                os.close(self.open(path))
                del differences[path]
            except source.Missing:
                pass
        return differences

    def is_empty(self, path):
        try:
            descriptor = self.open(path)
        except source.Missing:
            return False
        try:
            return source.claimed_length(descriptor) == 0
        finally:
            os.close(descriptor)

    def differences(self):
        """Path → how the file differs from what was signed (7.3)."""
        found = self.name_differences()
        for path, signed in self.statement.files.items():
            if path in found:
                continue
            descriptor = self.open(path)
            try:
                difference = compare(descriptor, signed)
            finally:
                os.close(descriptor)
            if difference is not None:
                found[path] = difference
        return found


def judge(model, trusted, signature=None):
    """Verdict, warnings, differences and, if there is one, a message."""
    try:
        signed = SignedModel(model, trusted, signature)
    except bundle.BadSignature as error:
        return "signature", [], {}, str(error)
    except statement.BadStatement as error:
        return "statement", [], {}, str(error)
    differences = signed.differences()
    verdict = "content" if differences else "ok"
    return verdict, sorted(signed.statement.warnings), differences, None


def compare(descriptor, signed):
    """How a file differs, or None."""
    if signed.shards:
        return compare_shards(descriptor, signed)
    if signed.size is not None and source.claimed_length(descriptor) != signed.size:
        return "size"
    return Pass(descriptor, signed).difference


def compare_shards(descriptor, signed):
    if source.claimed_length(descriptor) != signed.size:
        return "size"
    for shard in signed.shards:
        try:
            data = source.read(descriptor, shard.start, shard.end - shard.start)
        except source.EndsEarly:
            return "size"
        if digest(signed.algorithm, data) != shard.digest:
            return "digest"
    return None


def digest(algorithm, data):
    return blake3.digest(data) if algorithm == "blake3" else hashlib.new(algorithm, data).digest()


class Pass:
    """A full pass: the file is read once, and everything that is signed about it is computed.

    `kept` are the bytes of one range that were read meanwhile.
    """

    def __init__(self, descriptor, signed, keep=(0, 0)):
        self.length = 0
        self.kept = b""
        self.values = []
        hashes = {name: hashlib.new(name) for name in signed.digests if name != "blake3"}
        first = b""
        end = signed.size  # nothing beyond it is read
        while end is None or self.length < end:
            wanted = PIECE if end is None else min(PIECE, end - self.length)
            piece = read_up_to(descriptor, self.length, wanted)
            if not piece:
                break
            for hasher in hashes.values():
                hasher.update(piece)
            if "blake3" in signed.digests:
                if self.length == 0:
                    first = piece
                self.values.append(blake3.chaining_value(piece, self.length))
            start, stop = (max(0, at - self.length) for at in keep)
            self.kept += piece[start:stop]
            self.length += len(piece)
        computed = {name: hasher.digest() for name, hasher in hashes.items()}
        if "blake3" in signed.digests:
            is_tree = len(self.values) > 1
            computed["blake3"] = blake3.merge(self.values) if is_tree else blake3.digest(first)
        self.difference = self.judge(signed, computed)

    def judge(self, signed, computed):
        if signed.size is not None and self.length != signed.size:
            return "size"
        holds = sorted(name for name, found in computed.items() if found == signed.digests[name])
        if len(holds) == len(computed):
            return None
        return {"holds": holds, "differs": sorted(set(computed) - set(holds))}


def read_up_to(descriptor, start, length):
    """These bytes, or fewer at the end of the file."""
    data = b""
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), start + len(data))
        if not more:
            break
        data += more
    return data
