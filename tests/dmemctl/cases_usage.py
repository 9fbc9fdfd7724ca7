# SPDX-License-Identifier: Apache-2.0
"""The command line: help, version, what it refuses; the man page."""

import json
import os
import re
import subprocess

from support import DMEMCTL, ENVIRONMENT, SOURCE, bad, case, ctl, good, good_json, pool

COMMANDS = ("create", "info", "members", "map", "roots", "fsck", "grow", "add", "destroy", "devices")
OPTIONS = ("size", "base", "span", "coherence", "atomics", "lease", "beat", "mode", "members", "repair", "all", "json",
           "verbose", "help", "version")


@case
def general_help_names_every_command_and_teaches():
    for text in (good("--help"), good("-h"), good("help")):
        for command in COMMANDS:
            assert re.search(rf"^  {command} ", text, re.M), command
        for part in ("usage:", "DMEM_POOL", "exit codes", "dmemctl create file:/dev/shm/"):
            assert part in text, part
        assert max(map(len, text.splitlines())) <= 120


@case
def help_of_each_command_has_usage_examples_and_its_options():
    seen = set()
    for command in COMMANDS:
        text = good(command, "--help")
        assert text == good("help", command) == good("--help", command), command
        assert f"usage: dmemctl {command}" in text and f"  dmemctl {command}" in text, text
        assert max(map(len, text.splitlines())) <= 120, text
        seen |= set(re.findall(r"--([a-z]+)  ?", text))
    assert seen >= set(OPTIONS) - {"version"}, seen


@case
def the_man_page_knows_every_command_and_option():
    page = (SOURCE / "tools/dmemctl/dmemctl.1").read_text().replace("\\-", "-")
    for command in COMMANDS:
        assert re.search(rf"^\.BR {command} ", page, re.M), command
    for option in OPTIONS:
        assert f"--{option}" in page, option


@case
def version_is_said_for_people_and_programs():
    text = good("--version")
    version = good_json("--version")["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert text == good("-V") and version in text


@case
def a_wrong_command_line_exits_2_and_says_what_would_be_right():
    for arguments, says in (
        ((), ["--help"]),
        (("inof",), ["inof", "--help"]),
        (("info", "--frobnicate"), ["--frobnicate", "dmemctl info --help"]),
        (("--frobnicate",), ["--frobnicate", "dmemctl --help"]),
        (("info", "-x"), ["-x", "dmemctl info --help"]),
        (("info", "file:/a", "file:/b"), ["file:/b", "dmemctl info [URI]"]),
        (("info", "--repair"), ["info", "--repair", "dmemctl info --help"]),
        (("grow", "--size", "1G", "2G"), ["grow", "--size"]),
        (("create", "file:/a", "--size"), ["--size SIZE"]),
        (("create", "file:/a", "--size="), ["--size SIZE"]),
        (("create", "file:/a", "--size", "1G", "--size=2G"), ["--size", "twice"]),
        (("fsck", "file:/a", "--repair=yes"), ["--repair", "no value"]),
        (("grow",), ["dmemctl grow [URI] SIZE"]),
        (("grow", "file:/a"), ["file:/a", "dmemctl grow [URI] SIZE"]),
        (("add",), ["dmemctl add [URI] DEVICE-URI"]),
        (("destroy",), ["dmemctl destroy URI"]),
        (("help", "frobnicate"), ["frobnicate"]),
        (("info", ""), ["file:/dev/shm/name"]),
    ):
        bad(2, *arguments, says=says)


@case
def a_uri_that_cannot_be_understood_exits_2_and_names_the_part():
    for command in ("create", "info", "members", "map", "roots", "fsck", "destroy"):
        bad(2, command, "ftp:/dev/shm/x", says=["ftp", "file"])
        bad(2, command, "/dev/shm/x", says=["/dev/shm/x", "file:"])
        bad(2, command, "file:relative", says=["relative"])
        bad(2, command, "file:/dev/shm/x?colour=red", says=["colour", "size"])
    for command in ("grow", "add"):
        bad(2, command, "ftp:/dev/shm/x", "file:/dev/shm/y" if command == "add" else "2G", says=["ftp"])
    bad(2, "add", "file:/dev/shm/x", "ftp:/dev/shm/y", says=["ftp"])
    bad(2, "info", DMEM_POOL="ftp:/x", says=["ftp"])


@case
def options_may_stand_anywhere_and_double_dash_ends_them():
    with pool() as uri:
        want = good_json("info", uri)["uuid"]
        for arguments in (("--json", "info", uri), ("info", "-j", uri), ("info", "--json", "--", uri)):
            assert json.loads(good(*arguments))["uuid"] == want
        bad(2, "info", "--", "--json", says=["--json"])


@case
def control_characters_of_a_name_do_not_reach_the_terminal():
    for run in (ctl("info", "file:/dev/shm/\x1b[31mred"), ctl("\x1b[31m"), ctl("info", "--json", "file:/x\x1b/y")):
        assert run.code in (2, 3) and "\x1b" not in run.out + run.err, run


@case
def output_that_cannot_be_written_exits_3():
    with pool() as uri, open("/dev/full", "w") as full:
        for command in ("info", "map", "members"):
            run = ctl(command, uri, stdout=full)
            assert run.code == 3 and "could not be written" in run.err, run


@case
def a_reader_that_goes_away_leaves_no_dead_member():
    with pool() as uri:
        ours, theirs = os.pipe()
        os.close(ours)
        done = subprocess.run([str(DMEMCTL), "info", uri], stdout=theirs, stderr=subprocess.PIPE, text=True,
                              env=ENVIRONMENT, check=False)
        os.close(theirs)
        assert done.returncode == 3, done
        assert good_json("members", uri)["members"] == []
