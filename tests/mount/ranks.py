"""One of several processes that read the same files at the same time, as the ranks of a loader do.

ranks.py WAY MOUNT GOLDEN START NAMES: at START (seconds since the epoch) reads each file that is named in the
file NAMES from MOUNT in one WAY, and compares it with the one in GOLDEN. Prints how many were right, how
many ended in an error that says so, and the names of those that were wrong. `stat` only looks.
"""

import errno
import mmap
import os
import sys
import time


def by_read(path):
    with open(path, "rb", buffering=0) as file:
        parts = []
        while part := file.read(65536):
            parts.append(part)
        return b"".join(parts)


def by_open(path):
    with open(path, "rb") as file:
        return file.read()


def by_sendfile(path):
    source = os.open(path, os.O_RDONLY)
    target = os.memfd_create("target")
    try:
        while os.sendfile(target, source, None, 1 << 20):
            pass
        return os.pread(target, os.fstat(target).st_size, 0)
    finally:
        os.close(source)
        os.close(target)


def by_mmap(path):
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return b""
        with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as pages:
            return bytes(pages)


WAYS = {"read": by_read, "open": by_open, "sendfile": by_sendfile, "mmap": by_mmap}


def main():
    way, mount, golden, start, names = sys.argv[1:]
    with open(names) as file:
        names = file.read().split()
    time.sleep(max(0.0, float(start) - time.time()))
    right = errors = 0
    for name in names:
        path = os.path.join(mount, name)
        try:
            if way == "stat":
                os.stat(path)
                continue
            found = WAYS[way](path)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ESTALE):
                print("unexpected", name, error)
            errors += 1
            continue
        with open(os.path.join(golden, name), "rb") as file:
            if found == file.read():
                right += 1
            else:
                print("wrong", name, len(found), flush=True)
    print("right", right)
    print("errors", errors)


main()
