#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checks find what they are for, and are content with what is right.

Each case builds a small checkout in a scratch folder, once right and once with one thing wrong.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

import check_docs
import check_headers
import check_includes
import check_layout
import check_sizes
import check_style
import check_symbols
import tree

LICENSE = "/* SPDX-License-Identifier: Apache-2.0 */\n"

GOOD_HEADER = LICENSE + """#ifndef DMEM_POOL_H
#define DMEM_POOL_H

#include <stddef.h>

#define DMEM_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/**
 * dmem_use() - use something.
 * @what: the thing.
 * @bytes: its length.
 *
 * Returns:    0.
 * Threads:    safe.
 * Blocks:     never.
 * Visibility: none.
 * On failure: cannot fail.
 * Crash:      changes nothing.
 * Source:     none.
 */
DMEM_API int dmem_use(const void *what, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
"""

GOOD_TREE = {
    "include/dmem/pool.h": GOOD_HEADER,
    "src/base/error.h": LICENSE + "int dm_error(void);\n",
    "src/base/error.c": LICENSE + '#include "base/error.h"\n#include <errno.h>\n',
    "src/addr/window.h": LICENSE + '#include "base/error.h"\n#include "dmem/pool.h"\n',
    "src/addr/window_layout.h": LICENSE + "struct dm_window_pm {\n\tint a;\n};\n"
                                          'static_assert(sizeof(struct dm_window_pm) == 4, "window");\n',
    "src/pool.c": LICENSE + '#include "addr/window.h"\n\nint dmem_use(const void *what, size_t bytes)\n'
                            "{\n\treturn what && bytes;\n}\n",
    "src/libdmem.map": "# SPDX-License-Identifier: Apache-2.0\nDMEM_0.1 {\nglobal:\n\tdmem_use;\nlocal:\n\t*;\n};\n",
    "preload/libdmem_preload.map": "# SPDX-License-Identifier: Apache-2.0\n{\nglobal:\n\tmalloc;\nlocal:\n\t*;\n};\n",
    "preload/shim.c": LICENSE + '#include <dmem/pool.h>\n#include "base/error.h"\n',
    "tools/dmemctl/main.c": LICENSE + '#include "addr/window.h"\n#include <json-c/json.h>\n',
    "examples/01_hello/hello.c": LICENSE + "#include <dmem/pool.h>\n#include <stdio.h>\n",
    "README.md": "# A project\n\n[model](docs/memory-model.md#the-rules), [src](src/), [far](https://example.org/x.md)\n"
                 + "\n" * 40,
    "src/README.md": "# src\n\n`[no](link.md)`, and the clauses M1 to M3\n\n```\n[no](link.md)\n```\n" + "\n" * 33,
    "docs/memory-model.md": "# Model\n\n## The rules\n\n**M1 (one).** A.\n\n**M2.** B.\n\n**M3.** C, see clause M1\n",
}

LONG_FUNCTION = LICENSE + "int dm_long(void)\n{\n" + "\tdm_step();\n" * 101 + "}\n"
LATER = "TO" + "DO"

# (check, name of the case, file to put in, its content, what a finding must say)
CASES = [
    (check_includes, "an include that points right is found", "src/base/error.c",
     LICENSE + '#include "addr/window.h"\n', "base may not include addr"),
    (check_includes, "glue is above the folders", "src/addr/window.c",
     LICENSE + '#include "inspect.h"\n', "addr may not include glue"),
    (check_includes, "the shim sees base and the public headers only", "preload/shim.c",
     LICENSE + '#include "addr/window.h"\n', "preload may not include addr"),
    (check_includes, "an example sees the public headers only", "examples/01_hello/hello.c",
     LICENSE + '#include "base/error.h"\n', "examples may not include base"),
    (check_includes, "a public header shows no internals", "include/dmem/pool.h",
     LICENSE + '#include "base/error.h"\n', "include may not include base"),
    (check_includes, "a public header includes little of the system", "include/dmem/pool.h",
     LICENSE + "#include <sys/mman.h>\n", "in a public header"),
    (check_includes, "a path upwards is found", "src/addr/window.h",
     LICENSE + '#include "../base/error.h"\n', "without ../"),
    (check_includes, "an include without its folder is found", "src/base/error.c",
     LICENSE + '#include "error.h"\n', "no such header"),
    (check_includes, "an external library outside its folder is found", "src/addr/window.c",
     LICENSE + "#include <json-c/json.h>\n", "only be included in tools/dmemctl"),
    (check_includes, "an unknown library is found", "src/addr/window.c",
     LICENSE + "#include <foo/bar.h>\n", "is not known"),
    (check_includes, "a public header for C++ includes the C++ library only", "include/dmem/thing.hpp",
     LICENSE + "#include <memory>\n#include <boost/any.hpp>\n", "<boost/any.hpp> in a public header"),
    (check_headers, "a missing block is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("/**\n", "/*\n"), "no /** block"),
    (check_headers, "a parameter that is not described is found", "include/dmem/pool.h",
     GOOD_HEADER.replace(" * @bytes: its length.\n", ""), "dmem_use: describes"),
    (check_headers, "a described parameter that does not exist is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("@bytes:", "@length:"), "dmem_use: describes"),
    (check_headers, "a field out of order is found", "include/dmem/pool.h",
     GOOD_HEADER.replace(" * Source:     none.\n", "").replace(" * Crash:", " * Source:     none.\n * Crash:"),
     "out of order"),
    (check_headers, "an empty field is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("Blocks:     never.", "Blocks:"), "Blocks says nothing"),
    (check_headers, "a function without DMEM_API is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("DMEM_API int", "int"), "declared without DMEM_API"),
    (check_headers, "a header that needs another is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("#include <stddef.h>\n", ""), "does not compile alone with gcc -std=c11"),
    (check_headers, "a header that is not C++ is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("const void *what", "const void *new"), "does not compile alone with g++ -std=c++17"),
    (check_headers, "a header for C++ that needs another is found", "include/dmem/thing.hpp",
     LICENSE + "inline std::size_t size;\n", "thing.hpp: does not compile alone with g++ -std=c++17"),
    (check_layout, "a structure of the pool outside a layout header is found", "src/addr/window.h",
     LICENSE + "struct dm_thing_pm {\n\tint a;\n};\n", "dm_thing_pm: define it"),
    (check_layout, "a size that is not asserted is found", "src/addr/window_layout.h",
     LICENSE + "struct dm_window_pm {\n\tint a;\n};\n", "no static_assert"),
    (check_layout, "a name without _pm in a layout header is found", "src/addr/window_layout.h",
     LICENSE + "struct dm_window {\n\tint a;\n};\n", "names end in _pm"),
    (check_sizes, "a long function is found", "src/addr/window.c", LONG_FUNCTION, "dm_long() has 101 lines"),
    (check_sizes, "a long file is found", "src/addr/window.c", LICENSE + "int x;\n" * 1200, "1201 lines"),
    (check_docs, "a link to a file that is not there is found", "docs/a.md", "see [this](gone.md)\n",
     "docs/a.md:1: gone.md: there is no such file"),
    (check_docs, "a link of the other form is found", "docs/a.md",
     "see [this]\n\n[this]: gone.md\n", "docs/a.md:3: gone.md"),
    (check_docs, "a link in a README of any folder is followed", "src/addr/README.md",
     "[up](../../docs/gone.md)\n", "no such file"),
    (check_docs, "a link to a heading that is not there is found", "docs/a.md",
     "[x](memory-model.md#the-rule)\n", "no heading"),
    (check_docs, "a link out of the checkout is found", "docs/a.md",
     "[x](../../../etc/passwd)\n", "out of the checkout"),
    (check_docs, "an absolute link is found", "docs/a.md", "[x](/docs/memory-model.md)\n", "relative to the page"),
    (check_docs, "a Source that is not there is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("Source:     none.", "Source:     docs/gone.md; C17."), "docs/gone.md is not there"),
    (check_docs, "a Source in a second line is looked at", "include/dmem/pool.h",
     GOOD_HEADER.replace("Source:     none.", "Source:     docs/memory-model.md;\n *             docs/gone.md."),
     "docs/gone.md is not there"),
    (check_docs, "a clause that is not there is found in a header", "include/dmem/pool.h",
     GOOD_HEADER.replace("Visibility: none.", "Visibility: as clause M4 says."), "clause M4 is not in"),
    (check_docs, "a clause that is not there is found in a test", "tests/unit/addr/test_x.c",
     LICENSE + "/* clauses M1, M2 and A7 */\n", "test_x.c:2: clause A7 is not in"),
    (check_docs, "the end of a row of clauses is looked at", "src/addr/window.c",
     LICENSE + "/* clauses M2 to M5 */\n", "clause M5"),
    (check_docs, "a citation at the end of a sentence is found", "src/addr/window.c",
     LICENSE + "/* See clause A9. */\n", "clause A9"),
    (check_docs, "the middle of a row of clauses is looked at", "docs/memory-model.md",
     "**M1.** A.\n\n**M3.** Clause 2 is gone; see clauses M1 to M3.\n", "clause M2 is not in"),
    (check_docs, "a citation over the end of a line is found", "src/addr/window.c",
     LICENSE + "/*\n * As said in clause\n * M9.\n */\n", "window.c:3: clause M9"),
    (check_docs, "a clause that stands twice is found", "docs/memory-model.md",
     "**M1.** A.\n\n**M2.** B.\n\n**M3.** C.\n\n**M2 (again).** D.\n", "clause M2 stands twice"),
    (check_docs, "a memory model without clauses is found", "docs/memory-model.md", "# Model\n", "holds no clause"),
    (check_docs, "a function that is described nowhere is found", "include/dmem/pool.h",
     GOOD_HEADER.replace("/**\n", "/*\n"), "dmem_use() is described nowhere"),
    (check_docs, "a long README of a folder is found", "src/addr/README.md", "x\n" * 41, "41 lines"),
    (check_style, "a missing licence line is found", "src/addr/window.c", "int x;\n", "no SPDX"),
    (check_style, "a space before a tab is found", "src/addr/window.c", LICENSE + " \tint x;\n", "space before a tab"),
    (check_style, "four spaces as indentation are found", "src/addr/window.c",
     LICENSE + "    int x;\n", "indented with tabs"),
    (check_style, "white space at a line's end is found", "src/addr/window.c", LICENSE + "int x; \n", "white space"),
    (check_style, "a long line is found", "src/addr/window.c", LICENSE + "int " + "x" * 130 + ";\n", "columns"),
    (check_style, "something left for later is found", "src/addr/window.c",
     LICENSE + f"/* {LATER}: more */\n", "left for later"),
    (check_style, "a missing newline at the end is found", "src/addr/window.c", LICENSE + "int x;", "newline"),
    (check_style, "a script without a licence line is found", "scripts/run", "#!/bin/sh\n", "no SPDX"),
]

# The field tests are made from the list of fields, so that a new field gets its test.
CASES += [(check_headers, f"a missing field '{field}' is found", "include/dmem/pool.h",
           "\n".join(line for line in GOOD_HEADER.split("\n") if f"* {field}:" not in line), f"lacks {field}")
          for field in check_headers.FIELDS]


def write_tree(root, contents):
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def findings_in(check, extra):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        write_tree(root, GOOD_TREE)
        write_tree(root, {"src/inspect.h": LICENSE})
        write_tree(root, extra)
        return check.check(root)


def build_library(folder, source, script):
    library = folder / "libdmem.so"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    if script:
        command.append(f"-Wl,--version-script={script}")
    subprocess.run(command, input=source, text=True, check=True)
    shutil.copy(library, folder / "libdmem_preload.so")


def symbol_findings(header=GOOD_HEADER, listed="dmem_use;", source="int dmem_use(void) { return 0; }"):
    """What check_symbols says of a small library that is built with the tree's own map, which the shim shares."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        script = GOOD_TREE["src/libdmem.map"].replace("dmem_use;", listed)
        write_tree(root, {"include/dmem/pool.h": header, "src/libdmem.map": script,
                          "preload/libdmem_preload.map": script})
        build_library(root, source, root / "src/libdmem.map")
        return check_symbols.check(root, root)


SYMBOL_CASES = [
    ("headers, map and library that agree are fine", {}, None),
    ("a function that the map forgets is found", {"listed": "dmem_other;"}, "in include/dmem, not in src/libdmem.map"),
    ("a function that no header declares is found", {"listed": "dmem_use; dmem_other;"},
     "in src/libdmem.map, not in include/dmem"),
    ("a function that the library does not have is found", {"source": "int other(void) { return 0; }"},
     "in src/libdmem.map, not in libdmem.so"),
    ("a pattern in the map is found", {"listed": "dmem_*;"}, "is a pattern"),
    ("a name that stands twice is found", {"listed": "dmem_use; dmem_use;"}, "stands twice"),
]


class Counter:
    failed = 0

    def expect(self, name, passed, findings):
        print(f"ok {name}" if passed else f"not ok {name}")
        if not passed:
            self.failed += 1
            print(*(f"#   {finding}" for finding in findings or ["(no findings)"]), sep="\n")


def test_unversioned_library(counter):
    """A library that is linked without its map exports what it should not."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        write_tree(root, {name: GOOD_TREE[name] for name in ("include/dmem/pool.h", "src/libdmem.map")})
        write_tree(root, {"preload/libdmem_preload.map": GOOD_TREE["src/libdmem.map"]})
        build_library(root, "int dmem_use(void) { return 0; }\nint dm_inside(void) { return 0; }", None)
        findings = check_symbols.check(root, root)
    wanted = "dm_inside: in libdmem.so, not in src/libdmem.map"
    counter.expect("an internal symbol that is exported is found", wanted in findings, findings)


def main():
    counter = Counter()
    for check in (check_docs, check_includes, check_headers, check_layout, check_sizes, check_style):
        findings = findings_in(check, {})
        counter.expect(f"{check.__name__} is content with what is right", not findings, findings)
    for check, name, path, text, wanted in CASES:
        findings = findings_in(check, {path: text})
        counter.expect(f"{check.__name__}: {name}", any(wanted in finding for finding in findings), findings)
    for name, changes, wanted in SYMBOL_CASES:
        findings = symbol_findings(**changes)
        passed = any(wanted in finding for finding in findings) if wanted else not findings
        counter.expect(f"check_symbols: {name}", passed, findings)
    test_unversioned_library(counter)
    counter.expect("this checkout is looked at", len(list(tree.files(tree.ROOT))) > 10, [])
    return 1 if counter.failed else 0


if __name__ == "__main__":
    sys.exit(main())
