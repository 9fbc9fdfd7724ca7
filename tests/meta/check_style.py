#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What every text file keeps to: a licence line, tabs or spaces but no mixture, short lines, nothing left for later."""
import re

import tree

FOLDERS = tree.CODE_FOLDERS + ("cmake", "pkgconfig", "scripts", ".ci")
CODE_SUFFIXES = (".c", ".h", ".cc", ".cpp", ".hpp", ".def", ".map", ".py", ".sh", ".cmake", ".in", "CMakeLists.txt")
COLUMNS_MAX = 130  # the house aims at 120, a tab counted as one; .clang-format knows more

LATER = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")


def is_script(path):
    with path.open("rb") as stream:
        return stream.read(2) == b"#!"


def source_files(root):
    for path in tree.files(root, folders=FOLDERS, suffixes=("",)):
        if path.name.endswith(CODE_SUFFIXES) or is_script(path):
            yield path
    if (root / "CMakeLists.txt").is_file():
        yield root / "CMakeLists.txt"


def check_line(path, line):
    indent = re.match(r"[ \t]*", line).group(0)
    if " \t" in indent:
        yield "a space before a tab in the indentation"
    if path.suffix == ".py" and "\t" in indent:
        yield "Python is indented with spaces"
    if path.suffix in (".c", ".h", ".cpp", ".hpp") and re.match(r"    \S", line) and not line.strip().startswith("*"):
        yield "C is indented with tabs"
    if line != line.rstrip():
        yield "white space at the end of the line"
    # The backslashes of a long macro may stand wherever they line up.
    if len(line.rstrip("\\ \t")) > COLUMNS_MAX and "://" not in line:
        yield f"longer than {COLUMNS_MAX} columns; aim at 120"
    if LATER.search(line):
        yield "something is left for later: do it, or open an issue"


def check(root):
    findings = []
    for path in source_files(root):
        text = tree.read(path)
        if "SPDX-License-Identifier: Apache-2.0" not in "".join(text.splitlines(True)[:3]):
            findings.append(f"{tree.place(root, path, 1)}: no SPDX-License-Identifier in the first three lines")
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            last = text.count("\n")
            findings.append(f"{tree.place(root, path, last)}: ends without a newline, or with an empty line")
        if "\r" in text:
            findings.append(f"{tree.place(root, path, 1)}: carriage returns")
        for number, line in enumerate(text.splitlines(), 1):
            findings += [f"{tree.place(root, path, number)}: {problem}" for problem in check_line(path, line)]
    return findings


if __name__ == "__main__":
    tree.main("files keep to the style", check)
