#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the documentation points to is there, and what programs may call is documented.

Every relative link in a *.md leads to a file (and its #part to a heading), every "Source: docs/..." of a public header
to a page, every clause that is cited ("clause M1", "clauses M1 to M3") to the memory model, where no number stands
twice.
Every public function has a block in its header or is named in a page.  READMEs of folders have at most 40 lines.
"""
import re

import check_headers
import tree

MODEL = "docs/memory-model.md"
README_LINES_MAX = 40
ROOT_README = "README.md"  # the project's own may be longer
WITH_PAGES = tree.CODE_FOLDERS + ("docs", "scripts", "cmake", "pkgconfig")

FENCED = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^[ ]{0,3}\[[^\]]+\]:[ \t]*(\S+)", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
HEADING = re.compile(r"^#{1,6}[ \t]+(.*?)[ \t]*#*$", re.MULTILINE)

DEFINED = re.compile(r"^\*\*([A-Z]\d+)\b", re.MULTILINE)
NUMBER = r"[A-Z]\d+\b(?!\.\d)"  # not the section "D7.5" of another document
CITED = re.compile(rf"\bclauses?\s+({NUMBER}(?:(?:\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or|to)\s+){NUMBER})*)")
COMMENT_EDGE = re.compile(r"\n[ \t]*(?:\*(?!/)|//|#)[ \t]*")

SOURCE = re.compile(r"^ \* Source:[ \t]*((?:[^\n]|\n \*[ \t]{3,})*)", re.MULTILINE)
PAGE_NAME = re.compile(r"\bdocs/[\w./-]*\w")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def pages(root):
    yield from sorted(root.glob("*.md"))
    yield from tree.files(root, folders=WITH_PAGES, suffixes=(".md",))


def anchor_of(heading):
    """The name a heading gets as a target, as the usual hosts of repositories make it."""
    bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", bare).replace(" ", "-")


def anchors(path):
    return {anchor_of(match.group(1)) for match in HEADING.finditer(FENCED.sub(blank, tree.read(path)))}


def check_link(root, path, target):
    name, _, part = target.partition("#")
    if name.startswith("/"):
        return f"{target}: links are relative to the page"
    goal = (path.parent / name).resolve() if name else path
    if not goal.is_relative_to(root.resolve()):
        return f"{target}: leads out of the checkout"
    if not goal.exists():
        return f"{target}: there is no such file"
    if part and goal.suffix == ".md" and part not in anchors(goal):
        return f"{target}: {goal.name} has no heading that is called so"
    return None


def check_links(root, path):
    text = CODE_SPAN.sub(blank, FENCED.sub(blank, tree.read(path)))
    for match in LINK.finditer(text):
        target = match.group(1) or match.group(2)
        problem = None if ELSEWHERE.match(target) else check_link(root, path, target)
        if problem:
            yield f"{tree.place(root, path, line_of(text, match.start()))}: {problem}"


def check_length(root, path):
    lines = tree.read(path).count("\n")
    if path.name == "README.md" and path != root / ROOT_README and lines > README_LINES_MAX:
        yield f"{tree.place(root, path, 1)}: {lines} lines; a folder's README has at most {README_LINES_MAX}"


def clauses_of_model(root):
    """(all clause numbers, findings)"""
    path = root / MODEL
    if not path.is_file():
        return set(), [f"{MODEL}: there is no such page"]
    text = tree.read(path)
    numbers, findings = set(), []
    for match in DEFINED.finditer(text):
        if match.group(1) in numbers:
            where = tree.place(root, path, line_of(text, match.start()))
            findings.append(f"{where}: clause {match.group(1)} stands twice")
        numbers.add(match.group(1))
    if not numbers:
        findings.append(f"{MODEL}: holds no clause (\"**M1 (name).** ...\")")
    return numbers, findings


def cited_numbers(list_text):
    """"M1, M2 and M4 to M6" -> M1 M2 M4 M5 M6"""
    found = re.findall(r"(to\s+)?([A-Z])(\d+)", list_text)
    for index, (until, letter, number) in enumerate(found):
        first = int(number)
        if until and found[index - 1][1] == letter:
            first = int(found[index - 1][2]) + 1
        for each in range(first, int(number) + 1):
            yield f"{letter}{each}"


def check_citations(root, path, numbers):
    # A citation may go over the end of a comment's line; what is put in keeps the length, so that lines can be counted.
    text = tree.read(path)
    joined = COMMENT_EDGE.sub(lambda match: " " * len(match.group(0)), text)
    for match in CITED.finditer(joined):
        for number in cited_numbers(match.group(1)):
            if number not in numbers:
                yield f"{tree.place(root, path, line_of(text, match.start()))}: clause {number} is not in {MODEL}"


def check_sources(root, path):
    text = tree.read(path)
    for match in SOURCE.finditer(text):
        for page in PAGE_NAME.findall(match.group(1)):
            if not (root / page).is_file():
                yield f"{tree.place(root, path, line_of(text, match.start()))}: Source: {page} is not there"


def check_functions(root, headers, all_pages):
    """A block in the header, or a word in a page of docs/: somewhere a reader finds it."""
    text = "\n".join(tree.read(page) for page in all_pages if page.is_relative_to(root / "docs"))
    for path in headers:
        header = tree.read(path)
        for name, _, position in check_headers.declarations(header):
            has_block = check_headers.BLOCK_BEFORE.search(header[:position])
            if not has_block and not re.search(rf"\b{name}\b", text):
                yield f"{tree.place(root, path, line_of(header, position))}: {name}() is described nowhere"


def check(root):
    headers = list(tree.files(root, folders=("include",), suffixes=(".h",)))
    all_pages = list(pages(root))
    numbers, findings = clauses_of_model(root)
    for path in all_pages:
        findings += check_links(root, path)
        findings += check_length(root, path)
    for path in all_pages + list(tree.files(root)):
        findings += check_citations(root, path, numbers)
    for path in headers:
        findings += check_sources(root, path)
    findings += check_functions(root, headers, all_pages)
    return findings


if __name__ == "__main__":
    tree.main("the documentation leads somewhere", check)
