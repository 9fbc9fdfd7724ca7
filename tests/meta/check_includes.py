#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An include may only point left, always names the folder, and an external library stays in one folder.

    include/dmem <- base <- transport <- addr <- failure <- sync <- alloc <- src/*.c
                 <- preload, tools, examples, bench, tests
"""
import pathlib
import re

import tree

LAYERS = ("include", "base", "transport", "addr", "failure", "sync", "alloc", "glue")
OUTSIDE = ("preload", "tools", "examples", "bench", "tests")

# What a folder outside src/ may see, where that is less than everything.
OUTSIDE_SEES = {
    "preload": ("include", "base"),
    "examples": ("include",),
    "bench": ("include", "examples", "base"),
    "tests": LAYERS + OUTSIDE,
}

# Headers of the C library, the kernel and the compiler.
SYSTEM_FOLDERS = ("sys", "linux", "asm", "arpa", "net", "netinet", "sanitizer")
SYSTEM_HEADERS = set("""
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    aio alloca byteswap dirent dlfcn elf endian err error execinfo fcntl features fnmatch fts ftw getopt glob grp
    ifaddrs langinfo libgen link malloc mqueue netdb nl_types poll printf pthread pty pwd regex resolv sched search
    semaphore spawn strings sysexits syslog termios ucontext unistd utime utmp wordexp
    cpuid immintrin emmintrin nmmintrin x86intrin arm_acle arm_neon
""".split())

PUBLIC_MAY_INCLUDE = {"stddef.h", "stdint.h", "stdbool.h", "stdarg.h"}

# External libraries: the start of a header's name, and the only folder that may include it; or several.  The lab's programs
# show what verbs do without libdmem.
EXTERNAL = {
    "json-c/": "tools/dmemctl",
    "criterion/": "tests",
    "jemalloc/": "src/alloc/private",
    "numa": "src/alloc/private",
    "urcu": "src/sync",
    "infiniband/": ("src/transport/rdma", "tests/lab"),
    "rdma/": ("src/transport/rdma", "tests/lab"),
    "cxl/": "src/transport/devdax",
    "daxctl/": "src/transport/devdax",
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def layer_of(relative):
    """The layer of a file, by its path inside the checkout."""
    parts = relative.parts
    if parts[0] != "src":
        return parts[0]
    return parts[1] if len(parts) > 2 else "glue"


def allowed_layers(layer):
    if layer in OUTSIDE:
        return OUTSIDE_SEES.get(layer, LAYERS) + (layer,)
    if layer not in LAYERS:
        return ()
    return LAYERS[:LAYERS.index(layer) + 1]


def resolve(root, path, name):
    """Where the project's own header `name` lies, seen from `path`; None when it is not ours."""
    relative = path.relative_to(root)
    candidates = [pathlib.Path("include") / name, pathlib.Path("src") / name]
    if relative.parts[0] in OUTSIDE:
        candidates.append(relative.parent / name)
        candidates.append(pathlib.Path(relative.parts[0]) / name)
        candidates += [pathlib.Path(folder) / name for folder in OUTSIDE]
    return next((candidate for candidate in candidates if (root / candidate).is_file()), None)


def check_external(root, path, name):
    relative = path.relative_to(root).as_posix()
    for start, folders in EXTERNAL.items():
        if name.startswith(start):
            folders = (folders,) if isinstance(folders, str) else folders
            if not relative.startswith(tuple(folder + "/" for folder in folders)):
                return f"<{name}> may only be included in {' and '.join(folders)}/"
            return None
    if "/" in name:
        known = name.split("/")[0] in SYSTEM_FOLDERS
    else:
        known = name.removesuffix(".h") in SYSTEM_HEADERS
    if not known and relative.endswith((".c", ".h")):
        return f"<{name}> is not known: name the folder of this library in tests/meta/check_includes.py"
    if relative.startswith("include/") and relative.endswith(".hpp"):
        # The headers of the C++ library have neither a folder nor a suffix.
        return None if re.fullmatch(r"[a-z_]+", name) else f"<{name}> in a public header; there only the C++ library"
    if relative.startswith("include/") and name not in PUBLIC_MAY_INCLUDE:
        return f"<{name}> in a public header; there only {', '.join(sorted(PUBLIC_MAY_INCLUDE))}"
    return None


def check_own(root, path, target):
    relative = path.relative_to(root)
    layer, target_layer = layer_of(relative), layer_of(target)
    if target_layer not in allowed_layers(layer):
        return f"{layer} may not include {target_layer} (\"{target.name}\"): includes only point left"
    return None


def check_include(root, path, quote, name):
    if ".." in pathlib.PurePath(name).parts:
        return f"\"{name}\": name the folder, without ../"
    target = resolve(root, path, name)
    if target is not None:
        relative = path.relative_to(root)
        # A folder is always named, except among the files of src/ itself and of one program.
        if "/" not in name and layer_of(target) not in ("glue",) + OUTSIDE:
            return f"\"{name}\": name the folder"
        if quote == "<" and layer_of(target) != "include":
            return f"<{name}>: headers of the project stand in quotes"
        return check_own(root, path, target)
    if quote == '"':
        return f"\"{name}\": there is no such header under include/, src/ or the folder of the program"
    return check_external(root, path, name)


def check(root):
    findings = []
    for path in tree.files(root, suffixes=(".c", ".h", ".cpp", ".hpp", ".def")):
        text = tree.read(path)
        bare = re.sub(r"/\*.*?\*/", lambda match: re.sub(r"[^\n]", " ", match.group(0)), text, flags=re.DOTALL)
        for match in INCLUDE.finditer(bare):
            problem = check_include(root, path, match.group(1), match.group(2))
            if problem:
                line = bare.count("\n", 0, match.start(1)) + 1
                findings.append(f"{tree.place(root, path, line)}: {problem}")
    return findings


if __name__ == "__main__":
    tree.main("includes point left", check)
