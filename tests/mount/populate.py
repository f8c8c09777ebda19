"""Asks for a page that can't be had, in ways that don't take no for an answer.

populate.py populate FILE      maps all of it at once: the kernel tries without end
populate.py lock FILE          maps it and locks it in memory, likewise
populate.py fault FILE OFFSET  handles SIGBUS by trying again, without end
populate.py read FILE OFFSET TIMES
                               reads, and handles the error
populate.py ahead FILE OFFSET TIMES
                               has it read ahead, waiting for nothing
populate.py advise FILE        madvise(MADV_POPULATE_READ), which fails: 5
"""

import ctypes
import mmap
import os
import signal
import sys
import time

PAGE = mmap.PAGESIZE
MADV_POPULATE_READ = 22


def mapping(file, flags=0):
    return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | flags, prot=mmap.PROT_READ)


def address(mapped):
    class Buffer(ctypes.Structure):
        _fields_ = [
            ("buf", ctypes.c_void_p),
            ("obj", ctypes.py_object),
            ("len", ctypes.c_ssize_t),
            ("itemsize", ctypes.c_ssize_t),
            ("readonly", ctypes.c_int),
            ("ndim", ctypes.c_int),
            ("format", ctypes.c_char_p),
            ("shape", ctypes.c_void_p),
            ("strides", ctypes.c_void_p),
            ("suboffsets", ctypes.c_void_p),
            ("internal", ctypes.c_void_p),
        ]

    buffer = Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(mapped), ctypes.byref(buffer), 0)
    return buffer.buf


def main():
    verb, path, *numbers = sys.argv[1:]
    numbers = [int(number) for number in numbers]
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "rb", buffering=0) as file:
        if verb == "populate":
            mapping(file, 0x8000)  # MAP_POPULATE
        elif verb == "lock":
            mapped = mapping(file)
            size = ctypes.c_size_t(len(mapped))
            libc.mlock(ctypes.c_void_p(address(mapped)), size)
        elif verb == "advise":
            mapped = mapping(file)
            size = ctypes.c_size_t(len(mapped))
            if libc.madvise(ctypes.c_void_p(address(mapped)), size, MADV_POPULATE_READ) != 0:
                return 5
        elif verb == "fault":
            # The interpreter takes note of the signal and has the access made again.
            signal.signal(signal.SIGBUS, lambda *_: None)
            mapping(file)[numbers[0]]
        elif verb == "read":
            for _ in range(numbers[1]):
                try:
                    os.pread(file.fileno(), PAGE, numbers[0])
                    return 1
                except OSError:
                    pass
        elif verb == "ahead":
            for _ in range(numbers[1]):
                os.posix_fadvise(file.fileno(), numbers[0], PAGE, os.POSIX_FADV_WILLNEED)
                # A page that is under way isn't asked for again.
                time.sleep(0.0001)
                os.posix_fadvise(file.fileno(), numbers[0], PAGE, os.POSIX_FADV_DONTNEED)
    return 0


sys.exit(main())
