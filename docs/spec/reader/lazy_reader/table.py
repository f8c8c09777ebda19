"""The chunk table (section 6): its geometry, its identity, its bytes, and when it may be used."""

import os
import struct

from . import blake3

SMALLEST_LOG2 = 16
LARGEST_LOG2 = 24
SMALL = 1 << SMALLEST_LOG2  # a file of at most so many bytes is one chunk
MOST_CHUNKS = 1 << 21

FOLDER = ".model-fs"
CONTEXT = "model-fs 2026-11-22 signed content identity v1"

# Magic, version, log2 of the chunk size, zero, length, identity, root, zero, private use.
HEADER = struct.Struct("<8s I B 3s Q 32s 32s 8s 32s")
MAGIC = b"MFSTABLE"
VERSION = 1
VALUE = 32


class Unusable(Exception):
    """A table that is as good as absent."""


def chunk_log2(length):
    """The chunk size for a file of this length; None if it has no table."""
    for log2 in range(SMALLEST_LOG2, LARGEST_LOG2 + 1):
        if length <= MOST_CHUNKS << log2:
            return log2 if length > SMALL else None
    return None


def chunks_of(length, log2):
    return (length + (1 << log2) - 1) >> log2


def identity(root):
    return blake3.derive_key(CONTEXT, b"\x00\x06blake3" + root)


def name(root):
    return identity(root).hex() + ".table"


def encode(length, root, values):
    """A table file, for those who write one."""
    head = HEADER.pack(
        MAGIC, VERSION, chunk_log2(length), b"", length, identity(root), root, b"", b""
    )
    return head + b"".join(values)


class Table:
    """Values that merge to the root that was asked for."""

    def __init__(self, length, log2, values):
        self.length = length
        self.log2 = log2
        self.values = values

    @property
    def last(self):
        return len(self.values) - 1

    def chunk(self, index):
        """First byte and number of bytes of a chunk."""
        start = index << self.log2
        return start, min(1 << self.log2, self.length - start)

    def check(self, index, data):
        """Whether `data` is this chunk."""
        start, length = self.chunk(index)
        return len(data) == length and blake3.chaining_value(data, start) == self.values[index]


def require(condition, otherwise):
    if not condition:
        raise Unusable(otherwise)


def load(descriptor, root, size):
    """The table in an open file, if it may be used for this root and signed size (6.6)."""
    head = os.pread(descriptor, HEADER.size, 0)
    require(len(head) == HEADER.size, "it has no header")
    magic, version, log2, zero, length, named, stated, zeros, _ = HEADER.unpack(head)
    require(magic == MAGIC and version == VERSION, "it isn't a table of version 1")
    require(not any(zero) and not any(zeros), "bytes that must be zero aren't")
    require(log2 == chunk_log2(length), "no file of that length has such chunks")
    count = chunks_of(length, log2)
    found = os.fstat(descriptor).st_size
    require(found == HEADER.size + count * VALUE, "it has another length than its header says")
    require(named == identity(root) and stated == root, "it is for other content")
    require(size is None or size == length, "it is for another length than the signed one")

    body = b""
    while len(body) < count * VALUE:
        more = os.pread(descriptor, count * VALUE - len(body), HEADER.size + len(body))
        require(more, "it ends early")
        body += more
    values = [body[i : i + VALUE] for i in range(0, len(body), VALUE)]
    require(blake3.merge(values) == root, "its values don't merge to the root")
    return Table(length, log2, values)
