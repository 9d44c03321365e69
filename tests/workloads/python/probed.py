"""Measures how long it takes until a library that is loaded is probed: probed.py DIRECTORY TIMES

Loads copies of the interpreter's libssl, each a file of its own in DIRECTORY that nobody has seen
before, and looks at their code until it differs from the file's, as that of a probed one does. Prints
the milliseconds from before each was loaded.
"""

import ctypes
import shutil
import sys
import time

import _ssl  # noqa: F401 - it is loaded by this


def mapping(path):
    """Address, length and offset in the file of the code of a library."""
    with open("/proc/self/maps") as maps:
        line = next(line for line in maps if path in line and " r-xp " in line).split()
    start, end = (int(address, 16) for address in line[0].split("-"))
    return start, end - start, int(line[2], 16), line[-1]


library = mapping("libssl")[3]
for number in range(int(sys.argv[2])):
    copy = f"{sys.argv[1]}/libssl-{number}.so"
    shutil.copy(library, copy)
    with open(copy, "rb") as file:
        content = file.read()
    started = time.perf_counter()
    ctypes.CDLL(copy)
    address, length, offset, _ = mapping(copy)
    code = content[offset : offset + length]
    while ctypes.string_at(address, len(code)) == code:
        pass
    print((time.perf_counter() - started) * 1000, flush=True)
