#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Structures that lie in a pool end in _pm, live only in *_layout.h, and their sizes are asserted there."""
import re

import tree

ATTRIBUTES = r"(?:(?:__attribute__\s*\(\(.*?\)\)|_?[Aa]lignas\s*\([^)]*\))\s*)*"
DEFINITION = re.compile(rf"\b(?:struct|union)\s+{ATTRIBUTES}(\w+_pm)\s*\{{")
STRUCTURE = re.compile(rf"^(?:struct|union)\s+{ATTRIBUTES}(\w+)\s*\{{", re.MULTILINE)
SIZE_ASSERTED = r"\b(?:_S|s)tatic_assert\s*\(\s*sizeof\s*\(\s*(?:struct|union)\s+{}\s*\)"


def check_layout_header(root, path, text):
    findings = []
    for match in STRUCTURE.finditer(text):
        name = match.group(1)
        line = text.count("\n", 0, match.start()) + 1
        if not name.endswith("_pm"):
            findings.append(f"{tree.place(root, path, line)}: struct {name}: in a layout header names end in _pm")
        elif not re.search(SIZE_ASSERTED.format(name), text):
            findings.append(f"{tree.place(root, path, line)}: no static_assert on sizeof(struct {name})")
    return findings


def check(root):
    findings = []
    for path in tree.files(root, folders=("include", "src", "preload", "tools")):
        text = tree.without_comments(tree.read(path))
        if path.name.endswith("_layout.h"):
            findings += check_layout_header(root, path, text)
            continue
        for match in DEFINITION.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            findings.append(f"{tree.place(root, path, line)}: struct {match.group(1)}: define it in a *_layout.h")
    return findings


if __name__ == "__main__":
    tree.main("structures of the pool are in layout headers", check)
