#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every public function says what a caller has to know, and every public header compiles alone.

Before each DMEM_API function stands a block that starts with its name, describes each parameter (@name:), and has the
fields below, in this order.  Headers compile alone as C11 and C++17, those in C++ (.hpp) as C++17, with gcc and with clang.
"""
import re
import shutil
import subprocess
import tempfile
import pathlib

import tree

FIELDS = ("Returns", "Threads", "Blocks", "Visibility", "On failure", "Crash", "Source")

DECLARATION = re.compile(r"^DMEM_API\b([^;{]*?)\b(\w+)\s*\(([^;{]*)\)\s*;", re.MULTILINE)
UNMARKED = re.compile(r"^(?!DMEM_API|typedef)(?:[\w*]+[ \t*]+)+(dmem_\w+)\([^;{]*\);", re.MULTILINE)
BLOCK_BEFORE = re.compile(r"/\*\*\n((?: \*[^\n]*\n)*?) \*/\n\Z")

COMPILERS = (("gcc", "c", "c11"), ("clang", "c", "c11"), ("g++", "c++", "c++17"), ("clang++", "c++", "c++17"))


def declarations(text):
    """(name, parameters, position) of every DMEM_API function."""
    for match in DECLARATION.finditer(text):
        yield match.group(2), parameter_names(match.group(3)), match.start()


def parameter_names(parameters):
    if parameters.strip() in ("", "void"):
        return []
    return [re.search(r"(\w+)\s*(?:\[[^]]*\])?\s*$", one).group(1) for one in parameters.split(",")]


def check_block(block, name, parameters):
    problems = []
    lines = [line[3:] for line in block.splitlines()]
    if not lines or not re.match(rf"{name}\(\) - \S", lines[0]):
        problems.append(f"the block has to start with \"{name}() - what it does\"")
    described = [match.group(1) for match in map(re.compile(r"@(\w+):\s*\S").match, lines) if match]
    if described != parameters:
        problems.append(f"describes @{described}, has parameters {parameters}")
    found = []
    for line in lines:
        field = re.match(rf"({'|'.join(FIELDS)}):\s*(\S?)", line)
        if field:
            found.append(field.group(1))
            if not field.group(2):
                problems.append(f"{field.group(1)} says nothing")
    if found != list(FIELDS):
        missing = [field for field in FIELDS if field not in found]
        problems.append(f"lacks {', '.join(missing)}" if missing else f"fields twice, or out of order: {found}")
    return problems


def check_documentation(root, path):
    findings = []
    text = tree.read(path)
    seen = 0
    for name, parameters, position in declarations(text):
        seen += 1
        block = BLOCK_BEFORE.search(text[:position])
        problems = check_block(block.group(1), name, parameters) if block else ["no /** block stands right before it"]
        line = text.count("\n", 0, position) + 1
        findings += [f"{tree.place(root, path, line)}: {name}: {problem}" for problem in problems]
    marked = len(re.findall(r"^DMEM_API\b", text, re.MULTILINE))
    if marked != seen:
        findings.append(f"{tree.place(root, path, 1)}: {marked} lines start with DMEM_API, {seen} were understood")
    stray = UNMARKED.findall(tree.without_comments(text))
    findings += [f"{tree.place(root, path, 1)}: {name}() is declared without DMEM_API" for name in stray]
    return findings


def compile_alone(root, header, compiler, language, standard):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "alone.c"
        # Twice: the guard has to hold.
        source.write_text(f"#include <dmem/{header}>\n#include <dmem/{header}>\nint main(void) {{ return 0; }}\n")
        command = [compiler, f"-x{language}", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                   f"-I{root / 'include'}", "-fsyntax-only", str(source)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        return [f"include/dmem/{header}: does not compile alone with {compiler} -std={standard}:\n{result.stderr}"]
    return []


def check(root):
    findings = []
    headers = list(tree.files(root, folders=("include",), suffixes=(".h", ".hpp")))
    if not headers:
        findings.append("include/: no header found")
    for compiler, language, standard in COMPILERS:
        if not shutil.which(compiler):
            findings.append(f"{compiler} is not there: scripts/deps test installs it")
            continue
        for path in headers:
            if path.suffix == ".hpp" and language == "c":
                continue
            findings += compile_alone(root, path.name, compiler, language, standard)
    for path in headers:
        findings += check_documentation(root, path)
    return findings


if __name__ == "__main__":
    tree.main("public headers are documented and compile alone", check)
