#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Count test cases.

    tally.py --junit FILE --results DIR [--sanitizer DIR]     what ctest ran
    tally.py --lines FILE                                     what a script printed

Prints "PASSED FAILED SKIPPED" in the first line, then one line for each thing that failed or was skipped.

A test of ctest counts as its cases: those of the XML that Criterion left in DIR, else its "ok"/"not ok" lines, else
itself.  What Criterion does not tell by its exit status counts all the same: cases that were skipped, a program that
wrote no XML, and reports of the sanitizers (a leak found at exit leaves the status at 0).
"""
import argparse
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

CASE_LINE = re.compile(r"^(not ok|ok)\b(.*)$")
SKIP_MARK = re.compile(r"#\s*SKIP\b", re.IGNORECASE)


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.remarks = []

    def cases(self):
        return self.passed + self.failed + self.skipped

    def add_pass(self):
        self.passed += 1

    def add_failure(self, name):
        self.failed += 1
        self.remarks.append(f"failed: {name}")

    def add_skip(self, name):
        self.skipped += 1
        self.remarks.append(f"skipped: {name}")

    def print(self):
        print(self.passed, self.failed, self.skipped)
        for remark in self.remarks:
            print(remark)


def count_criterion(path, name, succeeded, tally):
    """Count the cases of one Criterion program; its XML is missing or cut off when the program itself died."""
    try:
        suites = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        tally.add_failure(f"{name} left no readable results ({error})")
        return
    failed_before = tally.failed
    for suite in suites.iter("testsuite"):
        for case in suite.iter("testcase"):
            full_name = f"{name}: {suite.get('name')}::{case.get('name')}"
            status = case.get("status")
            if status == "PASSED":
                tally.add_pass()
            elif status == "SKIPPED":
                tally.add_skip(full_name)
            else:
                tally.add_failure(full_name)
    if not succeeded and tally.failed == failed_before:
        tally.add_failure(f"{name} as a whole (timeout, or an exit status that its cases do not explain)")


def count_lines(text, name, tally):
    """Count "ok NAME", "ok NAME # SKIP why" and "not ok NAME"; true when there was one."""
    found = False
    for line in text.splitlines():
        match = CASE_LINE.match(line.strip())
        if not match:
            continue
        found = True
        case = f"{name}: {match.group(2).strip(' -')}"
        if match.group(1) == "not ok":
            tally.add_failure(case)
        elif SKIP_MARK.search(line):
            tally.add_skip(case)
        else:
            tally.add_pass()
    return found


def count_plain(case, name, succeeded, tally):
    """A script or a plain program."""
    failed_before = tally.failed
    output = "".join(element.text or "" for element in case.iter("system-out"))
    found = count_lines(output, name, tally)
    if succeeded and not found:
        tally.add_pass()
    elif not succeeded and tally.failed == failed_before:
        tally.add_failure(name)


def count_junit(junit, results, tally):
    try:
        root = ElementTree.parse(junit).getroot()
    except (OSError, ElementTree.ParseError) as error:
        tally.add_failure(f"ctest left no readable {junit} ({error})")
        return
    for case in root.iter("testcase"):
        name = case.get("name")
        status = case.get("status")
        if status not in ("run", "fail"):
            tally.add_failure(f"{name} did not run ({status})")
            continue
        command_is_criterion = (results / f"{name}.criterion").exists()
        if command_is_criterion:
            count_criterion(results / f"{name}.xml", name, status == "run", tally)
        else:
            count_plain(case, name, status == "run", tally)


def count_sanitizer(folder, tally):
    for report in sorted(folder.glob("*")):
        text = report.read_text(errors="replace")
        headline = next((line for line in text.splitlines() if "ERROR" in line or "WARNING" in line
                         or "runtime error" in line), "a report")
        tally.add_failure(f"sanitizer: {report.name}: {headline.strip()} (all of it: {report})")


def main():
    parser = argparse.ArgumentParser(description="count test cases")
    parser.add_argument("--junit", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--sanitizer", type=pathlib.Path)
    parser.add_argument("--lines", type=pathlib.Path)
    options = parser.parse_args()
    tally = Tally()
    if options.junit:
        if not options.results:
            parser.error("--junit needs --results")
        count_junit(options.junit, options.results, tally)
    if options.sanitizer:
        count_sanitizer(options.sanitizer, tally)
    if options.lines:
        count_lines(options.lines.read_text(errors="replace"), options.lines.stem, tally)
    tally.print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
