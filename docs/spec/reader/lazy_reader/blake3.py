"""BLAKE3 (paper, section 2): digests, values of subtrees, and how they merge.

Python is slow at 32-bit arithmetic and fast at arithmetic with long integers. So many blocks are
compressed side by side: a *column* is one integer that holds the same word of every block, each in
64 bits, of which the upper 32 stay free for what a sum or a shift carries over.
"""

import struct

IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)

CHUNK_START = 1
CHUNK_END = 2
PARENT = 4
ROOT = 8
DERIVE_KEY_CONTEXT = 32
DERIVE_KEY_MATERIAL = 64

BLOCK = 64
LEAF = 1024

# Most leaves that are compressed side by side.
SIDE_BY_SIDE = 256


def column(words):
    return int.from_bytes(struct.pack(f"<{len(words)}Q", *words), "little")


def words_of(column, count):
    return struct.unpack(f"<{count}Q", column.to_bytes(8 * count, "little"))


def compress(count, chaining, message, counters, block_length, flags):
    """Compresses `count` blocks (paper, 2.2): the first eight words of output, as columns.

    `chaining` and `message` are columns, `counters` a number for each block.
    """
    ones = column([1] * count)
    low = ones * 0xFFFFFFFF

    v = [
        *chaining,
        *(ones * word for word in IV[:4]),
        column([t & 0xFFFFFFFF for t in counters]),
        column([t >> 32 for t in counters]),
        ones * block_length,
        ones * flags,
    ]
    m = list(message)

    def mix(a, b, c, d, x, y):
        va, vb, vc, vd = v[a], v[b], v[c], v[d]
        va = (va + vb + x) & low
        vd ^= va
        vd = (vd >> 16 | vd << 16) & low
        vc = (vc + vd) & low
        vb ^= vc
        vb = (vb >> 12 | vb << 20) & low
        va = (va + vb + y) & low
        vd ^= va
        vd = (vd >> 8 | vd << 24) & low
        vc = (vc + vd) & low
        vb ^= vc
        vb = (vb >> 7 | vb << 25) & low
        v[a], v[b], v[c], v[d] = va, vb, vc, vd

    for _ in range(7):
        mix(0, 4, 8, 12, m[0], m[1])
        mix(1, 5, 9, 13, m[2], m[3])
        mix(2, 6, 10, 14, m[4], m[5])
        mix(3, 7, 11, 15, m[6], m[7])
        mix(0, 5, 10, 15, m[8], m[9])
        mix(1, 6, 11, 12, m[10], m[11])
        mix(2, 7, 8, 13, m[12], m[13])
        mix(3, 4, 9, 14, m[14], m[15])
        m = [m[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def rows(columns, count):
    """Columns of eight words as `count` values of 32 bytes."""
    by_word = [words_of(column, count) for column in columns]
    return [struct.pack("<8I", *words) for words in zip(*by_word, strict=True)]


def same_leaves(data, length, first, key, flags):
    """The values of leaves of one length (paper, 2.4), whose bytes follow one another."""
    count = len(data) // length if length else 1
    blocks = max(1, -(-length // BLOCK))
    padding = bytes(blocks * BLOCK - length)
    padded = b"".join(data[i * length : (i + 1) * length] + padding for i in range(count))
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    counters = range(first, first + count)
    ones = column([1] * count)
    chaining = [ones * word for word in key]
    for block in range(blocks):
        # Every `16 * blocks`th word is the same word of the next leaf.
        message = [column(words[16 * block + i :: 16 * blocks]) for i in range(16)]
        mark = CHUNK_START if block == 0 else 0
        if block == blocks - 1:
            mark |= CHUNK_END | flags
        block_length = min(BLOCK, length - BLOCK * block)
        chaining = compress(count, chaining, message, counters, block_length, mark | flags & ~ROOT)
    return rows(chaining, count)


def leaves(data, first, key, flags):
    """The values of the leaves of `data`, of which the first is number `first` of its input."""
    whole = len(data) // LEAF
    values = []
    for start in range(0, whole, SIDE_BY_SIDE):
        some = data[start * LEAF : min(whole, start + SIDE_BY_SIDE) * LEAF]
        values += same_leaves(some, LEAF, first + start, key, flags)
    rest = data[whole * LEAF :]
    if rest or not values:
        values += same_leaves(rest, len(rest), first + whole, key, flags)
    return values


def parents(pairs, key, flags):
    """The values of the parents of pairs of values, 64 bytes each (paper, 2.5)."""
    count = len(pairs)
    words = struct.unpack(f"<{16 * count}I", b"".join(pairs))
    message = [column(words[i::16]) for i in range(16)]
    ones = column([1] * count)
    chaining = [ones * word for word in key]
    out = compress(count, chaining, message, [0] * count, BLOCK, PARENT | flags)
    return rows(out, count)


def merge(values, key=IV, flags=ROOT):
    """Merges values from left to right to that of the one node above them.

    Taking neighbours together, level after level, a last one without a neighbour going up as it is,
    gives the tree whose left subtrees are the largest powers of two.
    """
    if len(values) < 2:
        raise ValueError("a single value is no tree")
    while len(values) > 1:
        mark = flags if len(values) == 2 else flags & ~ROOT
        pairs = [values[i] + values[i + 1] for i in range(0, len(values) - 1, 2)]
        values = parents(pairs, key, mark) + values[len(pairs) * 2 :]
    return values[0]


def subtree(data, first, key, flags):
    """The value of the subtree over `data`: with ROOT among the flags, the digest."""
    if len(data) <= LEAF:
        return leaves(data, first, key, flags)[0]
    return merge(leaves(data, first, key, flags & ~ROOT), key, flags)


def chaining_value(data, offset):
    """The value of a chunk that begins at `offset` of a file with more than one chunk."""
    return subtree(data, offset // LEAF, IV, 0)


def digest(data):
    """The digest of a whole input."""
    return subtree(data, 0, IV, ROOT)


def derive_key(context, material):
    """32 bytes of BLAKE3 in its mode `derive_key` (paper, 2.3)."""
    context_key = subtree(context.encode(), 0, IV, DERIVE_KEY_CONTEXT | ROOT)
    key = struct.unpack("<8I", context_key)
    return subtree(material, 0, key, DERIVE_KEY_MATERIAL | ROOT)
