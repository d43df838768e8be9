# SPDX-License-Identifier: GPL-2.0
"""How to ask in Python, where write() returns a lock's id: by os.write(), or by a file without a
buffer, and not by one that has a buffer."""

import os
import struct

# Of <linux/dlm_device.h> and <linux/dlmconstants.h>.
LOCK, CREATE_LOCKSPACE, REMOVE_LOCKSPACE = 1, 4, 5
CONVERT = 4
NL, EX = 0, 5


def request(command, rest=b""):
    """struct dlm_write_request of a 64-bit program, of version 6.0.2."""
    return (struct.pack("=3I2B2x", 6, 0, 2, command, 1) + rest).ljust(120, b"\0")


def lock_request(mode, name=b"", flags=0, lkid=0):
    """castaddr (at 56) and lksb (at 80) can be anything but 0."""
    return request(LOCK, struct.pack("=2B2xIII2Q5Q32x", mode, len(name), flags, lkid, 0,
                                     0, 0, 0, 1, 0, 0, 1) + name)


def hear(fd):
    """One record: its status and the lock's id."""
    return struct.unpack_from("=iI", os.read(fd, 104), 40)


def count(name):
    """How many locks of this name there are."""
    with open("/sys/kernel/debug/dlm/guide_locks") as table:
        return table.read().count(f'"{name}"')


def fails(attempt):
    try:
        attempt()
    except OSError as error:
        print(error)
        return True
    return False


control = os.open("/dev/dlm-control", os.O_RDWR)
minor = os.write(control, request(CREATE_LOCKSPACE, struct.pack("8x") + b"guide"))
fd = os.open("/dev/dlm_guide", os.O_RDWR)

lkid = os.write(fd, lock_request(NL, b"disk"))
assert hear(fd) == (0, lkid)
os.write(fd, lock_request(EX, flags=CONVERT, lkid=lkid))
assert hear(fd) == (0, lkid)

with open("/dev/dlm_guide", "r+b", buffering=0) as file:
    lkid = file.write(lock_request(NL, b"unbuffered"))
    assert hear(file.fileno()) == (0, lkid)

file = open("/dev/dlm_guide", "r+b")
file.write(lock_request(NL, b"buffered"))
assert fails(file.flush)
assert count("buffered") == 1
copy = os.dup(file.fileno())
assert fails(file.close)
assert count("buffered") == 2
os.close(copy)

os.close(fd)
os.write(control, request(REMOVE_LOCKSPACE, struct.pack("=2I", 0, minor)))
