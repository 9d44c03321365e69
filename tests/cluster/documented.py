"""Commands of the documentation, which the tests here run as they stand there.

`check` then fails for each that was not run, unless the documentation says `not run` behind it.
"""

import re
import shlex

from cluster import KIND, ROOT, run

GETTING_STARTED = "docs/getting-started.md"
TROUBLESHOOTING = "docs/troubleshooting.md"
CHART = "charts/kaos/README.md"
FILES = ["README.md", CHART, *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]
# `cargo` runs the tests themselves, and kind/start.sh makes the cluster; kaos-agent/src/cli/arguments.rs reads the
# agent's lines, and kaos-operator/tests render manifests.
ELSEWHERE = re.compile(r"cargo |(sudo )?(target/release/)?kaos-agent |target/release/kaos-operator render |kind create ")
# Of the other kind of cluster.
OTHERS = re.compile(r"ctr " if KIND else r"(kind|docker exec) ")
# What in a sentence is a command and no mention of one: three words at least, of which the first is a program.
PROGRAM = re.compile(r"(kubectl|helm|docker|ctr|kind|systemctl|kaos-operator|install) \S+ \S")
NOT_RUN = "not run"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Commands that ran, as they are written.
ran = set()


def in_blocks(text):
    """Commands of the blocks for shells, each with whether it is marked."""
    for language, block in BLOCK.findall(text):
        if language not in ("console", "sh"):
            continue
        # A loop is one command.
        block = re.sub(r"^for .*?^done$", lambda loop: loop[0].replace("\n", " ; "), block.replace("\\\n", " "),
                       flags=re.MULTILINE | re.DOTALL)
        for line in block.splitlines():
            command, _, comment = re.sub(r"\s+#\s*", " # ", line).partition(" # ")
            yield " ".join(command.replace("do ;", "do").split()), NOT_RUN in comment


def in_sentences(text):
    for found in re.finditer(r"`([^`]+)`", BLOCK.sub("", text)):
        command = " ".join(found[1].split())
        if PROGRAM.match(command):
            yield command, BLOCK.sub("", text)[found.end():].startswith(f" ({NOT_RUN})")


def commands(file):
    text = (ROOT / file).read_text()
    yield from in_blocks(text)
    yield from in_sentences(text)


def shell(command, *more, check=True, **replaced):
    """Runs a command with further arguments, and with what stands for its placeholders."""
    ran.add(command)
    for name, value in replaced.items():
        command = re.sub(rf"\b{name}\b", value, command)
    return run("sh", "-c", f"{command} {shlex.join(map(str, more))}", check=check)


def refused(command):
    """What is said by a command that fails."""
    return run("sh", "-c", f"! {command} 2>&1")


def run_one(file, beginning, *more, **options):
    """Runs the one command of a file that begins so."""
    found = {command for command, _ in commands(file) if command.startswith(beginning)}
    if len(found) != 1:
        raise SystemExit(f"e2e: {file} has {len(found)} commands that begin with {beginning}")
    return shell(found.pop(), *more, **options)


def check():
    """Every command was run, or is marked."""
    for file in FILES:
        for command, is_marked in commands(file):
            is_elsewhere = ELSEWHERE.match(command) or OTHERS.match(command)
            if not (is_marked or is_elsewhere or any(it.startswith(command) for it in ran)):
                raise SystemExit(f"e2e: neither run nor marked as not run: {file}: {command}")
