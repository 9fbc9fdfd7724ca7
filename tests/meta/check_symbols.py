#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The headers, src/libdmem.map and what libdmem.so exports are the same list; so are the shim and its map.

The libraries are those of DMEM_BUILD_DIR, or of the folder that is given as an argument.
"""
import os
import pathlib
import re
import subprocess
import sys

import check_headers
import tree

LIBRARIES = (("libdmem.so", "src/libdmem.map"), ("libdmem_preload.so", "preload/libdmem_preload.map"))


def public_functions(root):
    names = set()
    for path in tree.files(root, folders=("include",), suffixes=(".h",)):
        names.update(name for name, _, _ in check_headers.declarations(tree.read(path)))
    return names


def map_symbols(path):
    """(exported names, findings) of a version script."""
    text = re.sub(r"/\*.*?\*/|#[^\n]*", "", tree.read(path), flags=re.DOTALL)
    names, findings = [], []
    stanzas = re.findall(r"(\w[\w.]*)?\s*\{(.*?)\}[^;]*;", text, re.DOTALL)
    if not stanzas:
        findings.append(f"{path.name}: holds no stanza")
    for _, body in stanzas:
        exported = re.search(r"(?:global:|\A)(.*?)(?:local:|\Z)", body, re.DOTALL).group(1)
        names += re.findall(r"([^\s;]+)\s*;", exported)
    if not re.search(r"local:\s*\*\s*;", text):
        findings.append(f"{path.name}: says nowhere that all else is local (local: *;)")
    findings += [f"{path.name}: {name} stands twice" for name in sorted(set(names)) if names.count(name) > 1]
    findings += [f"{path.name}: {name} is a pattern; name each symbol" for name in names if "*" in name]
    return set(names), findings


def exported_symbols(library):
    command = ["nm", "-D", "--defined-only", str(library)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    names = set()
    for line in result.stdout.splitlines():
        fields = line.split()
        if fields[-2] != "A":  # the version itself
            names.add(fields[-1].split("@")[0])
    return names


def compare(first, first_names, second, second_names):
    findings = [f"{name}: in {first}, not in {second}" for name in sorted(first_names - second_names)]
    return findings + [f"{name}: in {second}, not in {first}" for name in sorted(second_names - first_names)]


def check(root, build):
    findings = []
    for library, map_name in LIBRARIES:
        if not (root / map_name).is_file():
            findings.append(f"{map_name}: is missing")
            continue
        listed, problems = map_symbols(root / map_name)
        findings += problems
        if library == "libdmem.so":
            findings += compare("include/dmem", public_functions(root), map_name, listed)
        if not (build / library).exists():
            findings.append(f"{build / library} is missing: build first, or set DMEM_BUILD_DIR")
            continue
        findings += compare(map_name, listed, library, exported_symbols(build / library))
    return findings


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DMEM_BUILD_DIR", str(tree.ROOT / "build" / "dev"))
    tree.main("headers, maps and exported symbols agree", check, pathlib.Path(folder))
