# SPDX-License-Identifier: Apache-2.0
"""create, grow, add, destroy."""

import os
import re
import stat

from support import (ENVIRONMENT, MIB, NOBODY, SCRATCH, SHM, bad, case, ctl, fresh_uri, good, good_json, member,
                     path_of, pool)

GIB = 1024 * MIB


@case
def create_says_what_was_made():
    uri = fresh_uri()
    text = good("create", uri, "--size", "1G")
    for part in (uri, "1 GiB", "0x", "span", "lease 1 s", "beat 100 ms", "export DMEM_POOL="):
        assert part in text, text
    uuid = re.search(r"uuid +([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\n", text)
    assert uuid and good_json("info", uri)["uuid"] == uuid.group(1), text
    assert stat.S_IMODE(path_of(uri).stat().st_mode) == 0o600
    good("destroy", uri)


@case
def create_prints_a_document_with_what_was_made():
    uri = fresh_uri()
    made = good_json("create", uri, "--size", "1G")
    assert made["size_bytes"] == GIB and made["lease_ms"] == 1000 and made["beat_ms"] == 100, made
    assert made["uri"] == uri and made["coherence"] == "coherent" and made["atomics"] == "cpu", made
    assert int(made["end"], 16) - int(made["base"], 16) == made["span_bytes"] >= 64 * GIB, made
    good("destroy", uri)


@case
def each_option_of_create_reaches_the_pool():
    uri = fresh_uri()
    made = good_json("create", uri, "--size", "512M", "--base=0x2a0000000000", "--span", "128G", "--coherence",
                     "noncoherent", "--atomics", "cpu", "--lease", "2s", "--beat", "50ms", "--mode", "0640",
                     "--members", "64")
    assert made["size_bytes"] == 512 * MIB and made["base"] == "0x2a0000000000", made
    assert made["span_bytes"] == 128 * GIB and made["members_max"] == 64, made
    assert made["coherence"] == "noncoherent" and made["atomics"] == "cpu", made
    assert made["lease_ms"] == 2000 and made["beat_ms"] == 50, made
    assert stat.S_IMODE(path_of(uri).stat().st_mode) == 0o640
    info = good_json("info", uri)
    assert {key: info[key] for key in made} == made
    good("destroy", uri)


@case
def options_can_stand_in_the_uri_as_well():
    uri = fresh_uri()
    made = good_json("create", uri + "?size=64M&members=32", "--lease", "3s")
    assert (made["size_bytes"], made["members_max"], made["lease_ms"]) == (64 * MIB, 32, 3000), made
    assert made["uri"] == uri
    bad(2, "create", fresh_uri() + "?size=64M", "--size", "64M", says=["size", "twice"])
    good("destroy", uri)


@case
def create_without_a_uri_makes_the_pool_that_dmem_pool_names():
    uri = fresh_uri()
    assert good_json("create", "--size", "64M", DMEM_POOL=uri)["uri"] == uri
    assert good_json("info", DMEM_POOL=uri)["uri"] == uri
    good("destroy", uri)


@case
def a_file_that_exists_is_never_overwritten():
    path = SHM / "precious"
    path.write_text("precious")
    bad(3, "create", f"file:{path}", "--size", "64M", says=[path])
    assert path.read_text() == "precious"
    path.unlink()
    with pool() as uri:
        before = good_json("info", uri)["uuid"]
        assert bad(3, "create", uri, "--size", "64M", says=[path_of(uri)])["name"] == "EEXIST"
        assert good_json("info", uri)["uuid"] == before


@case
def sizes_and_values_that_cannot_be_are_refused_and_leave_nothing():
    uri = fresh_uri()
    for option, values in (
        ("size", ("0", "-1", "abc", "1X", "18446744073709551616", "99999999999T", "1G&mode=0666", "%31", "")),
        ("base", ("0", "1", "0x200000000001", "here")),
        ("span", ("0", "x")),
        ("coherence", ("maybe",)),
        ("atomics", ("hope",)),
        ("lease", ("0", "soon", "1y")),
        ("beat", ("0", "2s", "61s")),
        ("mode", ("0999", "rw", "0000", "07777")),
        ("members", ("0", "1", "4097", "many")),
    ):
        for value in values:
            size = [] if option == "size" else ["--size", "64M"]
            bad(2, "create", uri, *size, f"--{option}", value, says=[option])
    assert not list(SHM.iterdir())


@case
def sizes_that_no_pool_can_have_are_refused_and_leave_nothing():
    uri = fresh_uri()
    for size in ("1", "4K", "2M"):
        assert bad(3, "create", uri, "--size", size, says=["small"])["name"] == "DMEM_E_TOO_SMALL", size
    for size in ("18446744073709551615", "8388608T", "100T"):
        run = ctl("create", uri, "--size", size)
        assert run.code in (2, 3) and len(run.err.splitlines()) == 1, run
    run = ctl("create", uri, "--size", "1G", "--span", "64M")
    assert run.code in (2, 3) and "span" in run.err, run
    assert not list(SHM.iterdir())


@case
def create_names_the_folder_that_is_missing_or_forbidden():
    bad(3, "create", f"file:{SHM}/no/such/pool", "--size", "64M", says=[f"{SHM}/no/such"])
    bad(3, "create", f"file:{SCRATCH}/dmemctl/pool", "--size", "64M", says=[f"{SCRATCH}/dmemctl"])
    if os.geteuid() != 0:
        return "root only: becomes another user"
    registry = SCRATCH / "registry-of-nobody"
    registry.touch()
    os.chown(registry, NOBODY, NOBODY)
    error = bad(3, "create", f"file:{SHM}/forbidden", "--size", "64M", says=[f"{SHM}/forbidden"], user=NOBODY,
                DMEM_REGISTRY=str(registry))
    assert error["name"] == "EACCES", error
    return None


@case
def two_pools_get_windows_that_do_not_overlap():
    with pool() as one:
        two = fresh_uri()
        first = good_json("info", one)
        second = good_json("create", two, "--size", "64M")
        assert int(second["base"], 16) >= int(first["end"], 16) or int(second["end"], 16) <= int(first["base"], 16)
        error = bad(3, "create", fresh_uri(), "--size", "64M", "--base", first["base"], says=[first["base"]])
        assert error["name"] == "DMEM_E_WINDOW", error
        good("destroy", two)


@case
def grow_gives_the_pool_a_new_size_or_more():
    with pool(size="256M") as uri:
        grown = good_json("grow", uri, "512M")
        assert (grown["size_before_bytes"], grown["size_bytes"]) == (256 * MIB, 512 * MIB), grown
        assert good_json("info", uri)["size_bytes"] == 512 * MIB
        text = good("grow", "+128M", DMEM_POOL=uri)
        assert "512 MiB" in text and "640 MiB" in text, text
        assert good("fsck", uri)


@case
def a_pool_grows_while_a_member_uses_it():
    with pool(size="256M") as uri, member(uri):
        assert good_json("grow", uri, "+256M")["size_bytes"] == 512 * MIB
        assert good("fsck", uri)


@case
def grow_refuses_sizes_that_cannot_be():
    with pool("--span", "64G") as uri:
        for size in ("0", "+0", "x", "+", "--", "18446744073709551616", "+18446744073709551615"):
            run = ctl("grow", uri, size)
            assert run.code == 2 and len(run.err.splitlines()) == 1, run
        for size in ("256M", "64M", "65G", "18446744073709551615"):
            bad(3, "grow", uri, size)
        assert good_json("info", uri)["size_bytes"] == 256 * MIB
    bad(3, "grow", fresh_uri(), "1G", says=[SHM])


@case
def add_gives_the_pool_another_device():
    with pool(size="256M") as uri:
        other = fresh_uri()
        added = good_json("add", uri, other, "--size", "128M")
        assert added["size_bytes"] == 384 * MIB and added["devices"] == 2, added
        devices = good_json("info", uri)["devices"]
        assert [device["size_bytes"] for device in devices] == [256 * MIB, 128 * MIB], devices
        assert devices[1]["name"] == other and devices[0]["uuid"] != devices[1]["uuid"], devices
        third = fresh_uri()
        assert "added" in good("add", third + "?size=64M", DMEM_POOL=uri)
        good("fsck", uri)
        good("map", uri)


@case
def add_refuses_devices_that_cannot_be():
    with pool() as uri:
        (SHM / "taken").write_text("taken")
        bad(3, "add", uri, f"file:{SHM}/taken", "--size", "64M", says=[f"{SHM}/taken"])
        assert (SHM / "taken").read_text() == "taken"
        bad(3, "add", uri, uri, "--size", "64M")
        bad(3, "add", uri, f"file:{SHM}/no/such", "--size", "64M", says=[f"{SHM}/no"])
        for size in ("4K", "2M"):
            assert bad(3, "add", uri, fresh_uri(), "--size", size)["name"] == "DMEM_E_TOO_SMALL", size
        bad(2, "add", uri, fresh_uri(), "--size", "0", says=["size"])
        bad(3, "add", fresh_uri(), fresh_uri(), "--size", "64M", says=[SHM])
        assert good_json("info", uri)["size_bytes"] == 256 * MIB
        good("fsck", uri)


@case
def destroy_removes_the_pool_its_devices_and_its_window():
    uri, other = fresh_uri(), fresh_uri()
    base = good_json("create", uri, "--size", "64M")["base"]
    good("add", uri, other, "--size", "64M")
    assert good("destroy", uri) == f"destroyed {uri}\n"
    assert not list(SHM.iterdir())
    bad(3, "info", uri, says=[path_of(uri)])
    assert good_json("create", uri, "--size", "64M", "--base", base)["base"] == base
    assert good_json("destroy", uri) == {"uri": uri, "destroyed": True}


@case
def destroy_never_takes_the_default_and_leaves_what_is_not_a_pool():
    with pool() as uri:
        bad(2, "destroy", DMEM_POOL=uri)
        assert path_of(uri).exists()
    path = SHM / "letter"
    path.write_text("dear reader " * 10000)
    assert bad(3, "destroy", f"file:{path}", says=[path])["name"] == "DMEM_E_NOT_POOL"
    assert path.exists()
    path.unlink()
    assert bad(3, "destroy", fresh_uri(), says=[SHM])["name"] == "ENOENT"


@case
def destroy_leaves_a_pool_that_a_living_member_has():
    with pool() as uri:
        with member(uri) as (process, _):
            assert bad(3, "destroy", uri)["name"] == "DMEM_E_BUSY"
            assert path_of(uri).exists() and process.poll() is None
        good("destroy", uri)


@case
def destroy_takes_a_pool_whose_members_are_dead():
    with pool() as uri:
        with member(uri) as (process, _):
            process.kill()
            process.wait()
        good("destroy", uri)
        assert not path_of(uri).exists()


@case
def the_default_pool_is_not_made_by_looking():
    if os.geteuid() != 0:
        return "root only: becomes a user who has no pool"
    user = next(user for user in range(61000, 62000) if not os.path.exists(f"/dev/shm/dmem-{user}"))
    for command in ("info", "map", "members", "roots", "fsck"):
        bad(3, command, user=user, says=[f"/dev/shm/dmem-{user}"])
    assert not os.path.exists(f"/dev/shm/dmem-{user}")
    assert "DMEM_POOL" not in ENVIRONMENT
    return None
