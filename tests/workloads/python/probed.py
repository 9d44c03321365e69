"""Measures how long it takes until code that is mapped is probed: probed.py DIRECTORY TIMES

The code is that of copies of the interpreter's libssl, each a file of its own in DIRECTORY that nobody has
seen before. It is looked at until it differs from the file's, as that of a probed one does. Prints the
milliseconds, for each as often as it says:

loaded, from before the library is loaded;
executed, from before an interpreter is executed that has it from its beginning on.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import time


def mapping(path):
    """Address, length and offset in the file of the code of a library."""
    with open("/proc/self/maps") as maps:
        line = next(line for line in maps if path in line and " r-xp " in line).split()
    start, end = (int(address, 16) for address in line[0].split("-"))
    return start, end - start, int(line[2], 16), line[-1]


def wait_until_probed(path, content):
    address, length, offset, _ = mapping(path)
    code = content[offset : offset + length]
    while ctypes.string_at(address, len(code)) == code:
        pass


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


def say(what, started):
    print(what, (time.monotonic() - started) * 1000, flush=True)


def measure(directory, times):
    import _ssl  # noqa: F401 - the library is loaded by this

    library = mapping("libssl")[3]
    for number in range(times):
        copy = shutil.copy(library, f"{directory}/libssl-{number}.so")
        content = content_of(copy)
        started = time.monotonic()
        ctypes.CDLL(copy)
        wait_until_probed(copy, content)
        say("loaded", started)
    for number in range(times):
        copy = shutil.copy(library, f"{directory}/libssl-of-{number}.so")
        # Without what sites add, which takes a while.
        command = [sys.executable, "-I", "-S", __file__, "executed", copy]
        environment = os.environ | {"LD_PRELOAD": copy}
        subprocess.run(command + [str(time.monotonic())], env=environment, check=True)


if sys.argv[1] == "executed":
    path, started = sys.argv[2], float(sys.argv[3])
    wait_until_probed(path, content_of(path))
    say("executed", started)
else:
    measure(sys.argv[1], int(sys.argv[2]))
