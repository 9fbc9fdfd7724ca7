# SPDX-License-Identifier: Apache-2.0
"""What the checks share: finding files, reading C without its comments, reporting.

A check is a module with check(root, ...) that returns a list of findings, each "path:line: what is wrong and what would
be right".  Run as a program it looks at this checkout and prints "ok NAME" or "not ok NAME".  tests/meta/test_checks.py
shows that each check finds what it is for.
"""
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(os.environ.get("DMEM_SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])

CODE_FOLDERS = ("include", "src", "preload", "tools", "examples", "bench", "tests")
SKIPPED_FOLDERS = {"build", ".git", "__pycache__", ".cache"}


def files(root, folders=CODE_FOLDERS, suffixes=(".c", ".h")):
    """All files of the folders with one of the suffixes, sorted; build trees are left out."""
    for folder in folders:
        for directory, names, leaves in os.walk(root / folder):
            names[:] = sorted(name for name in names if name not in SKIPPED_FOLDERS)
            for leaf in sorted(leaves):
                if leaf.endswith(tuple(suffixes)):
                    yield pathlib.Path(directory) / leaf


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def without_comments(text):
    """C text with comments and strings blanked out; line numbers stay."""
    def blank(match):
        piece = match.group(0)
        if piece.startswith(("/*", "//")):
            return re.sub(r"[^\n]", " ", piece)
        return piece[0] + " " * (len(piece) - 2) + piece[-1]
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.DOTALL)


def place(root, path, line):
    return f"{path.relative_to(root)}:{line}"


def report(name, findings, remarks=()):
    """Print what was found; the exit status of the check."""
    for remark in remarks:
        print(f"# {remark}")
    for finding in findings:
        print(finding)
    print(f"not ok {name}: {len(findings)} findings" if findings else f"ok {name}")
    return 1 if findings else 0


def main(name, check, *arguments):
    sys.exit(report(name, check(ROOT, *arguments)))
