# SPDX-License-Identifier: Apache-2.0
"""info, members, map, roots, fsck."""

import os
import re
import time

from support import MIB, NOBODY, SHM, bad, case, ctl, fresh_uri, good, good_json, member, on_terminal, path_of, pool

SUPERBLOCK_BYTES = 16384  # two copies, at the beginning of the file


@case
def info_shows_everything_for_people():
    with pool("--span", "64G") as uri, member(uri):
        text = good("info", uri)
        for part in (uri, "layout", "coherent", "64 GiB", "members      1 of ", "roots        2", "metadata", "leased",
                     "free", "256 MiB", "devices", "size classes", "WAITING", "WASTE"):
            assert part in text, f"{part}: {text}"
        assert re.search(r"^ +64 B +\d+ +\d+ +2000 ", text, re.M), text
        assert "members      2 of " in good("info", uri, "--all")


@case
def info_shows_everything_for_programs():
    with pool() as uri, member(uri):
        info = good_json("info", uri)
        assert info["size_bytes"] == 256 * MIB and info["extent_bytes"] == 2 * MIB, info
        assert info["metadata_bytes"] + info["leased_bytes"] + info["free_bytes"] <= info["size_bytes"], info
        assert info["metadata_bytes"] > 0 and info["leased_bytes"] >= 14 * MIB and info["free_bytes"] > 0, info
        assert info["members"] == 1 and good_json("info", uri, "-a")["members"] == 2, info
        assert info["roots"] == 2 and info["quarantined"] == 0 and info["layout_version"] == 1, info
        assert re.fullmatch(r"0x[0-9a-f]+", info["base"]) and info["self"]["incarnation"] >= 1, info
        device, = info["devices"]
        assert device["index"] == 0 and device["size_bytes"] == 256 * MIB and device["name"] == uri, device
        classes = {entry["block_bytes"]: entry for entry in info["classes"]}
        assert classes[64]["blocks_live"] == 2000 and classes[64]["blocks_waiting"] == 0, classes
        assert sum(entry["blocks_live"] for entry in classes.values()) == 4000, classes
        assert all(entry["blocks"] >= entry["blocks_live"] for entry in classes.values()), classes


@case
def info_takes_the_pool_that_dmem_pool_names():
    with pool() as uri:
        assert good_json("info", DMEM_POOL=uri)["uri"] == uri
        assert good_json("info", uri, DMEM_POOL="file:/dev/shm/another-that-is-not-there")["uri"] == uri


@case
def what_is_no_pool_is_refused_by_name():
    text, empty, folder = SHM / "text", SHM / "empty", SHM / "folder"
    text.write_text("no pool " * 100000)
    empty.touch()
    folder.mkdir()
    try:
        for command in ("info", "members", "map", "roots", "fsck"):
            assert bad(3, command, f"file:{text}", says=[text])["name"] == "DMEM_E_NOT_POOL"
            assert bad(3, command, f"file:{empty}", says=[empty])["name"] in ("DMEM_E_NOT_POOL", "DMEM_E_TOO_SMALL")
            bad(3, command, f"file:{folder}", says=[folder])
            assert bad(3, command, f"file:{SHM}/missing", says=[f"{SHM}/missing"])["name"] == "ENOENT"
    finally:
        text.unlink()
        empty.unlink()
        folder.rmdir()


@case
def a_pool_of_another_user_is_refused():
    if os.geteuid() != 0:
        return "root only: becomes another user"
    with pool() as uri:
        for command in ("info", "members", "map", "roots", "fsck"):
            assert bad(3, command, uri, says=[path_of(uri)], user=NOBODY)["name"] == "EACCES"
    return None


@case
def members_lists_who_is_there():
    with pool() as uri:
        assert "no members" in good("members", uri)
        assert good_json("members", uri)["members"] == []
        with member(uri) as (process, _):
            text = good("members", uri)
            assert text.startswith("SLOT") and str(process.pid) in text and "holder" in text, text
            assert "dmemctl" not in text and "live" in text, text
            entry, = good_json("members", uri)["members"]
            assert (entry["pid"], entry["program"], entry["state"]) == (process.pid, "holder", "live"), entry
            assert entry["alive"] is True and entry["same_host"] is True and entry["self"] is False, entry
            assert entry["leased_bytes"] >= 14 * MIB and entry["chunks"] >= 1, entry
            time.sleep(0.5)
            later, = good_json("members", uri)["members"]
            assert later["beats"] > entry["beats"], later
        assert good_json("members", uri)["members"] == []


@case
def members_lists_this_tool_when_asked():
    with pool() as uri, member(uri):
        entries = good_json("members", uri, "--all")["members"]
        assert sorted(entry["self"] for entry in entries) == [False, True], entries
        assert [entry["program"] for entry in entries if entry["self"]] == ["dmemctl"], entries
        assert "dmemctl (this one)" in good("members", uri, "-a")


@case
def members_tells_hosts_apart():
    with pool() as uri, member(uri, DMEM_HOST_ID="alpha"), member(uri, DMEM_HOST_ID="beta"):
        entries = good_json("members", uri)["members"]
        assert len(entries) == 2 and len({entry["host"] for entry in entries}) == 2, entries
        assert not any(entry["same_host"] for entry in entries), entries


def rows_of(text):
    """The rows of the drawing without their labels, and the lines below it."""
    drawing, legend = text.split("\n\n", 1)
    return [row[11:] for row in drawing.splitlines()], legend


@case
def the_map_fits_the_terminal():
    with pool(size="1G") as uri, member(uri):
        for columns in (1, 20, 33, 40, 80, 132, 300, 400, 100000):
            text = good("map", uri, COLUMNS=str(columns))
            rows, legend = rows_of(text)
            width = min(max(columns, 20), 400)
            assert 1 <= len(rows) <= 24, text
            assert all(len(line) <= width for line in text.splitlines()[: len(rows)]), text
            assert width < 50 or max(map(len, legend.splitlines())) <= width, text
            assert all(len(row) == len(rows[0]) for row in rows[:-1]) and len(rows[-1]) <= len(rows[0]), text
            per_cell = int(re.search(r"1 cell = (\d+) extent", legend).group(1))
            assert sum(map(len, rows)) == -(-512 // per_cell), text
        assert good("map", uri, COLUMNS="80") == good("map", uri, COLUMNS=None) == good("map", uri, COLUMNS="wide")


@case
def the_map_shows_what_fills_the_pool():
    with pool(size="256M") as uri:
        with member(uri):
            rows, legend = rows_of(good("map", uri, LC_ALL="C"))
            cells = "".join(rows)
            assert len(cells) == 128, cells
            kinds = good_json("map", uri)["kinds"]
            for mark, kind in zip(".LMSRP!", ("free", "leased", "metadata", "slabs", "run", "private", "quarantined")):
                assert cells.count(mark) == kinds[kind]["extents"], f"{kind}: {cells} {kinds}"
                assert (kind in legend) == (kinds[kind]["extents"] != 0 or kind == "free"), legend
            assert kinds["run"]["extents"] == 5 and kinds["run"]["runs"] == 1, kinds
            assert kinds["private"]["extents"] >= 3 and kinds["private"]["runs"] == 1, kinds
            assert kinds["slabs"]["blocks_live"] == 4000, kinds
            assert kinds["slabs"]["bytes_live"] >= 2000 * 1064, kinds
        kinds = good_json("map", uri)["kinds"]
        assert kinds["private"]["extents"] == 0 and kinds["run"]["extents"] == 5, kinds


@case
def the_document_of_the_map_covers_every_extent_once():
    with pool(size="256M") as uri, member(uri):
        document = good_json("map", uri)
        kinds, ranges = document["kinds"], document["ranges"]
        assert sum(kind["extents"] for kind in kinds.values()) == 128, kinds
        assert sum(kind["bytes"] for kind in kinds.values()) == 256 * MIB, kinds
        end = 0
        for entry in ranges:
            assert entry["first"] >= end and entry["count"] > 0, ranges
            end = entry["first"] + entry["count"]
        assert end <= 128
        for name, kind in kinds.items():
            if name != "free":
                assert sum(r["count"] for r in ranges if r["kind"] == name) == kind["extents"], name
        slot = good_json("members", uri)["members"][0]["slot"]
        assert {r["owner"] for r in ranges if r["kind"] == "private"} == {slot}, ranges


@case
def the_document_of_the_map_is_in_order_over_several_segments():
    with pool(size="256M") as uri, member(uri):
        good("grow", uri, "512M")
        good("add", uri, fresh_uri(), "--size", "128M")
        document = good_json("map", uri)
        firsts = [entry["first"] for entry in document["ranges"]]
        assert firsts == sorted(firsts), firsts
        assert {entry["device"] for entry in document["ranges"]} == {0, 1}, document
        assert sum(kind["bytes"] for kind in document["kinds"].values()) == 640 * MIB, document


@case
def the_map_is_ascii_where_the_locale_says_so():
    with pool() as uri, member(uri):
        assert good("map", uri, LC_ALL="C").isascii()
        assert not good("map", uri, LC_ALL="C.UTF-8").isascii()


@case
def colours_are_for_terminals_and_not_with_no_color():
    with pool() as uri, member(uri):
        assert "\x1b" not in good("map", uri)
        coloured = on_terminal("map", uri)
        assert "\x1b[35m" in coloured and "\x1b[32m" in coloured and "\x1b[0m" in coloured, coloured
        assert "\x1b" not in on_terminal("map", uri, NO_COLOR="1")
        assert "\x1b" not in on_terminal("map", uri, TERM="dumb")
        assert "\x1b[35m" in on_terminal("map", uri, NO_COLOR="")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured).replace("\r\n", "\n")
        assert plain == on_terminal("map", uri, NO_COLOR="1").replace("\r\n", "\n"), plain


@case
def roots_lists_names_with_the_addresses_that_members_see():
    with pool() as uri:
        assert "no roots" in good("roots", uri)
        assert good_json("roots", uri)["roots"] == []
        with member(uri) as (_, addresses):
            text = good("roots", uri)
            assert all(name in text and address in text for name, address in addresses.items()), text
        document = good_json("roots", uri)
        base = int(good_json("info", uri)["base"], 16)
        assert {entry["name"]: entry["address"] for entry in document["roots"]} == addresses, document
        assert all(int(entry["address"], 16) == base + entry["offset"] for entry in document["roots"]), document


@case
def fsck_finds_nothing_in_a_sound_pool():
    with pool() as uri:
        assert good("fsck", uri) == f"{uri}: clean\n"
        with member(uri):
            good("fsck", uri)
        assert good_json("fsck", uri) == {"uri": uri, "repair": False, "state": "clean", "findings": []}
        assert good("fsck", DMEM_POOL=uri)


@case
def fsck_finds_nothing_after_a_death():
    with pool() as uri:
        with member(uri) as (process, _):
            process.kill()
            process.wait()
        assert good_json("fsck", uri)["state"] == "clean"
        assert good_json("members", uri)["members"] == []


def damage(uri, offset, count=64):
    with path_of(uri).open("r+b") as file:
        file.seek(offset)
        bytes_there = file.read(count)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in bytes_there))


@case
def fsck_repairs_one_damaged_superblock_from_the_other():
    for copy in range(2):
        with pool() as uri:
            uuid = good_json("info", uri)["uuid"]
            damage(uri, copy * SUPERBLOCK_BYTES + 64)
            run = ctl("fsck", uri)
            assert run.code == 1 and "superblock" in run.out and "--repair" in run.out, run
            run = ctl("fsck", uri, "--json")
            assert run.code == 1 and '"damaged"' in run.out, run
            run = ctl("fsck", uri, "--repair")
            assert run.code == 1 and "repaired" in run.out, run
            assert good("fsck", uri) == f"{uri}: clean\n"
            assert good_json("info", uri)["uuid"] == uuid


@case
def a_pool_without_a_whole_superblock_is_refused_as_damaged():
    with pool() as uri:
        damage(uri, 64)
        damage(uri, SUPERBLOCK_BYTES + 64)
        for command in ("info", "members", "map", "roots"):
            assert bad(1, command, uri, says=[path_of(uri)])["name"] == "DMEM_E_CORRUPT"
        for repair in ((), ("--repair",)):
            run = ctl("fsck", uri, *repair)
            assert run.code == 1 and "DAMAGED" in run.out and "superblock" in run.out, run
        assert path_of(uri).exists()


@case
def devices_lists_what_this_machine_has():
    found = good_json("devices")
    assert set(found) == {"memdevs", "regions", "dax"} and all(isinstance(part, list) for part in found.values()), found
    text = good("devices")
    for part, none, title in (("memdevs", "no CXL memory devices", "CXL MEMORY"), ("regions", "no CXL regions", "CXL REGION"),
                              ("dax", "no DAX devices", "DAX DEVICE")):
        assert (title if found[part] else none) in text, text
        assert all(entry["name"] in text for entry in found[part]), text
    for entry in found["dax"]:
        assert entry["mode"] in ("devdax", "system-ram", "disabled") and entry["size_bytes"] > 0, entry
    assert bad(2, "devices", "file:/dev/shm/a", says=["one argument too many"])


@case
def what_is_no_dax_or_cxl_device_is_refused_with_the_cure():
    for command in ("info", "create", "fsck", "destroy"):
        error = bad(3, command, "dax:/dev/null", says=["/dev/null", "daxctl reconfigure-device -m devdax"])
        assert error["name"] == "DMEM_E_UNSUPPORTED", error
        assert bad(3, command, "dax:/dev/dax777.777", says=["/dev/dax777.777"])["name"] == "ENOENT"
        assert bad(3, command, "cxl:region777", says=["region777", "regions here"])["name"] == "ENOENT"
        assert bad(3, command, "cxl:0x7777777777777", says=["0x7777777777777", "here"])["name"] == "ENOENT"


@case
def verbose_shows_what_the_library_reports():
    run = ctl("info", "-v", fresh_uri())
    assert run.code == 3 and "dmemctl: error: " in run.err, run
