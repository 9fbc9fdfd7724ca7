#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/lib/tally.py counts what ran, and counts as failed what exit codes do not tell."""
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(os.environ.get("DMEM_SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])

CRITERION = """<testsuites><testsuite name="s">{}</testsuite></testsuites>"""
PASS = '<testcase name="a" status="PASSED"/>'
FAIL = '<testcase name="b" status="FAILED"/>'
CRASH = '<testcase name="c" status="ERRORED"/>'
SKIP = '<testcase name="d" status="SKIPPED"/>'


def junit(status, output=""):
    return f'<testsuite><testcase name="t" status="{status}"><system-out>{output}</system-out></testcase></testsuite>'


# (name, ctest's XML, Criterion's XML or None, a sanitizer report or None, the counts)
CASES = [
    ("a plain program that succeeds is one case", junit("run"), None, None, "1 0 0"),
    ("a plain program that fails is one case", junit("fail"), None, None, "0 1 0"),
    ("a test that did not run is a failure", junit("notrun"), None, None, "0 1 0"),
    ("a disabled test is a failure", junit("disabled"), None, None, "0 1 0"),
    ("the lines of a script are cases", junit("run", "ok a\nok b\nnoise"), None, None, "2 0 0"),
    ("a failed line is a failed case", junit("fail", "ok a\nnot ok b"), None, None, "1 1 0"),
    ("a failed line counts whatever the exit status", junit("run", "ok a\nnot ok b"), None, None, "1 1 0"),
    ("a script that fails without saying where fails", junit("fail", "ok a"), None, None, "1 1 0"),
    ("a skipped line is counted as skipped", junit("run", "ok a # SKIP no such device"), None, None, "0 0 1"),
    ("the cases of Criterion are counted", junit("fail"), CRITERION.format(PASS + FAIL + CRASH + SKIP), None, "1 2 1"),
    ("skips that exit with 0 are seen", junit("run"), CRITERION.format(SKIP), None, "0 0 1"),
    ("a Criterion program without results fails", junit("run"), "", None, "0 1 0"),
    ("a Criterion program whose results are cut off fails", junit("fail"), "<testsuites><tests", None, "0 1 0"),
    ("a failure that no case of Criterion explains counts", junit("fail"), CRITERION.format(PASS), None, "1 1 0"),
    ("a sanitizer report is a failure", junit("run"), CRITERION.format(PASS), "ERROR: LeakSanitizer", "1 1 0"),
    ("results of ctest that cannot be read are a failure", "<testsuite", None, None, "0 1 0"),
]


def count(ctest, criterion, report):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "results").mkdir()
        (folder / "sanitizer").mkdir()
        (folder / "junit.xml").write_text(ctest)
        if criterion is not None:
            (folder / "results/t.criterion").write_text("t")
        if criterion:
            (folder / "results/t.xml").write_text(criterion)
        if report:
            (folder / "sanitizer/t.1").write_text(report)
        command = [sys.executable, str(ROOT / "scripts/lib/tally.py"), "--junit", str(folder / "junit.xml"),
                   "--results", str(folder / "results"), "--sanitizer", str(folder / "sanitizer")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def main():
    failed = 0
    for name, ctest, criterion, report, wanted in CASES:
        lines = count(ctest, criterion, report)
        good = lines[0] == wanted and len(lines) - 1 == sum(int(number) for number in wanted.split()[1:])
        failed += not good
        print(f"ok {name}" if good else f"not ok {name}: {lines}, not {wanted} and a line for each that is not a pass")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
