#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A function over 100 lines fails, over 60 is named; a file over 1200 lines fails, over 500 is named.

A function is what stands between "{" and "}" in the first column, as everywhere in this project.
"""
import re
import sys

import tree

FUNCTION_LINES_MAX = 100
FUNCTION_LINES_ASK = 60
FILE_LINES_MAX = 1200
FILE_LINES_ASK = 500

NAME = re.compile(r"(\w+)\s*\(")


def functions(text):
    """(name, first line, number of lines) of each function body."""
    lines = tree.without_comments(text).splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            head = " ".join(lines[max(0, start - 4):start - 1])
            names = NAME.findall(head.split(";")[-1].split("}")[-1])
            yield (names[0] if names else "?"), start, number - start - 1
            start = None


def check(root, remarks=None):
    findings = []
    remarks = remarks if remarks is not None else []
    for path in tree.files(root):
        text = tree.read(path)
        length = text.count("\n")
        if length > FILE_LINES_MAX:
            findings.append(f"{tree.place(root, path, 1)}: {length} lines; at most {FILE_LINES_MAX}")
        elif length > FILE_LINES_ASK:
            remarks.append(f"{tree.place(root, path, 1)}: {length} lines")
        for name, line, lines in functions(text):
            if lines > FUNCTION_LINES_MAX:
                findings.append(f"{tree.place(root, path, line)}: {name}() has {lines} lines of {FUNCTION_LINES_MAX}")
            elif lines > FUNCTION_LINES_ASK:
                remarks.append(f"{tree.place(root, path, line)}: {name}() has {lines} lines")
    return findings


if __name__ == "__main__":
    found_remarks = []
    found = check(tree.ROOT, found_remarks)
    sys.exit(tree.report("functions and files are short", found, found_remarks))
