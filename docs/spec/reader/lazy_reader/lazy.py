"""Reading a range (section 7.4): what it takes to prove it, and no more."""

import os

from . import source, table, verify

# A file without R of at most so many bytes is taken as one chunk (step 1).
LARGEST_UNDER_D = 1 << 20


class Unproved(Exception):
    """What is there isn't what was signed."""


class NeedsPass(Exception):
    """Nothing at hand proves the file: only a full pass could tell."""


def read(model, path, offset, length, may_pass=True, tables=True):
    """The bytes of a signed file from `offset`, at most `length`, fewer only at its end."""
    if model.name_differences():
        raise Unproved("the model hasn't the signed names")
    signed = model.statement.files.get(path)
    if signed is None:
        raise Unproved(f"{path!r} isn't signed")
    descriptor = model.open(path)
    try:
        return Reading(model, descriptor, signed, may_pass, tables).range(offset, length)
    except source.EndsEarly as error:
        raise Unproved(str(error)) from None
    finally:
        os.close(descriptor)


class Reading:
    def __init__(self, model, descriptor, signed, may_pass, tables):
        self.model = model
        self.descriptor = descriptor
        self.signed = signed
        self.may_pass = may_pass
        self.tables = tables
        self.claimed = source.claimed_length(descriptor)

    def range(self, offset, length):
        signed = self.signed
        if signed.size is not None and offset >= signed.size:
            return b""  # step 5: the size alone tells
        if signed.shards:
            return self.from_shards(offset, length)
        expected = self.claimed if signed.size is None else signed.size
        if signed.root is None:
            if expected <= LARGEST_UNDER_D:
                data = self.one_chunk(expected, signed.algorithm, signed.digest)
                return data[offset : offset + length]
        elif expected <= table.SMALL:
            return self.one_chunk(expected, "blake3", signed.root)[offset : offset + length]
        else:
            usable = self.usable_table() if self.tables else None
            if usable is not None:
                return self.from_table(usable, offset, length)
        return self.from_pass(offset, length)

    def one_chunk(self, expected, algorithm, digest):
        """Steps 1 and 2: the whole of a small file."""
        data = source.read(self.descriptor, 0, expected)
        if verify.digest(algorithm, data) != digest:
            raise Unproved("it isn't what was signed")
        return data

    def usable_table(self):
        """Step 3: a table that proves itself, and with it the length."""
        path = f"{table.FOLDER}/{table.name(self.signed.root)}"
        try:
            descriptor = self.model.source.open(path)
        except source.Missing:
            return None
        try:
            found = table.load(descriptor, self.signed.root, self.signed.size)
        except table.Unusable:
            return None
        finally:
            os.close(descriptor)
        if self.signed.size is not None:
            return found
        if found.length > self.claimed:
            return None
        start, length = found.chunk(found.last)
        try:
            last = source.read(self.descriptor, start, length)
        except source.EndsEarly:
            return None
        return found if found.check(found.last, last) else None

    def from_table(self, found, offset, length):
        """Steps 5 and 6: the chunks that have a byte of the range."""
        end = min(offset + length, found.length)
        if offset >= end:
            return b""
        first, last = offset >> found.log2, (end - 1) >> found.log2
        pieces = []
        for index in range(first, last + 1):
            data = source.read(self.descriptor, *found.chunk(index))
            if not found.check(index, data):
                raise Unproved(f"chunk {index} isn't what was signed")
            pieces.append(data)
        begin = first << found.log2
        return b"".join(pieces)[offset - begin : end - begin]

    def from_pass(self, offset, length):
        """Steps 1 and 4: the range, of the same read that everything signed was computed of."""
        if not self.may_pass:
            raise NeedsPass("no table may be used, and no full pass was allowed")
        done = verify.Pass(self.descriptor, self.signed, keep=(offset, offset + length))
        if done.difference is not None:
            raise Unproved(f"a full pass found: {done.difference}")
        return done.kept

    def from_shards(self, offset, length):
        """Ranges that are signed themselves."""
        end = min(offset + length, self.signed.size)
        pieces = [b""]
        begin = None
        for shard in self.signed.shards:
            if shard.start < end and offset < shard.end:
                begin = shard.start if begin is None else begin
                data = source.read(self.descriptor, shard.start, shard.end - shard.start)
                if verify.digest(self.signed.algorithm, data) != shard.digest:
                    raise Unproved(f"bytes {shard.start} to {shard.end} aren't what was signed")
                pieces.append(data)
        if begin is None:
            return b""
        return b"".join(pieces)[offset - begin : end - begin]
