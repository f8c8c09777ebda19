"""Runs a command for which the kernel refuses to mount, with an error number, as AppArmor or
SELinux do: `refuse.py ERRNO COMMAND...`, as root. A stand-in, by a filter for system calls."""

import ctypes
import os
import platform
import struct
import sys

# mount and fsopen; the latter has one number everywhere.
CALLS = [{"x86_64": 165, "aarch64": 40}[platform.machine()], 430]
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | int(sys.argv[1])
PR_SET_SECCOMP, FILTER = 22, 2


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


steps = [(LOAD_NUMBER, 0, 0, 0)]
steps += [(JUMP_IF_EQUAL, len(CALLS) - i, 0, call) for i, call in enumerate(CALLS)]
steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = Program(len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
