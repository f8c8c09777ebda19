"""Reads files through a memory mapping. A page that can't be had kills it with SIGBUS.

map.py compare private|shared FILE GOLDEN [FILE GOLDEN]...
    page after page from the first: 0 if all are the golden ones, 1 at the first that isn't,
    5 if a file can't be opened or has another length
map.py touch private|shared FILE OFFSET
    prints the value of one byte
map.py hold private|shared FILE
    touches the first byte, says so, and does it again for each line that it is given
map.py write FILE
    changes a private mapping, which must not change the file
"""

import mmap
import sys

PAGE = mmap.PAGESIZE
FLAGS = {"private": mmap.MAP_PRIVATE, "shared": mmap.MAP_SHARED}


def mapping(mode, file):
    return mmap.mmap(file.fileno(), 0, flags=FLAGS[mode], prot=mmap.PROT_READ)


def compare(mode, path, golden):
    with open(golden, "rb") as file:
        wanted = file.read()
    try:
        file = open(path, "rb", buffering=0)
    except OSError:
        return 5
    with file:
        if file.seek(0, 2) != len(wanted):
            return 5
        if not wanted:  # An empty file can't be mapped.
            return 0
        with mapping(mode, file) as mapped:
            for start in range(0, len(wanted), PAGE):
                if mapped[start : start + PAGE] != wanted[start : start + PAGE]:
                    return 1
    return 0


def main():
    verb, *rest = sys.argv[1:]
    if verb == "compare":
        mode, *files = rest
        worst = 0
        for path, golden in zip(files[::2], files[1::2], strict=True):
            code = compare(mode, path, golden)
            if code:
                print(f"{path}: {code}", file=sys.stderr)
                worst = worst or code
        return worst
    if verb == "touch":
        mode, path, offset = rest
        with open(path, "rb", buffering=0) as file, mapping(mode, file) as mapped:
            print(mapped[int(offset)])
        return 0
    if verb == "hold":
        mode, path = rest
        with open(path, "rb", buffering=0) as file, mapping(mode, file) as mapped:
            print(mapped[0], flush=True)
            for _ in sys.stdin:
                print(mapped[0], flush=True)
        return 0
    if verb == "write":
        with open(rest[0], "rb", buffering=0) as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
                before = mapped[0]
                mapped[0] = before ^ 1
                file.seek(0)
                return 0 if file.read(1)[0] == before else 1
    return 2


sys.exit(main())
