# SPDX-License-Identifier: Apache-2.0
"""What the tests of dmemctl share: running it, pools that go away again, a member to look at, and the list of cases."""

import contextlib
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("DMEM_BUILD_DIR", "."))
NOBODY = 65534

# Others run at the same time: names carry our process id, and the registry of windows is our own.
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="dmemctl-test-"))
SHM = pathlib.Path(tempfile.mkdtemp(prefix="dmemctl-test-", dir="/dev/shm"))
for folder in (SCRATCH, SHM):
    folder.chmod(0o755)
# Nobody must be able to run it, wherever the build folder is.
DMEMCTL = SCRATCH / "dmemctl"
shutil.copy(os.environ.get("DMEMCTL", BUILD / "dmemctl"), DMEMCTL)
DMEMCTL.chmod(0o755)
REGISTRY = SCRATCH / "registry"
MIB = 1 << 20

# The environment that every run starts from: what the caller has set must not change what is tested.
ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if key in ("PATH", "HOME", "LD_LIBRARY_PATH") or key.endswith("SAN_OPTIONS")
}
ENVIRONMENT.update(DMEM_REGISTRY=str(REGISTRY), LC_ALL="C.UTF-8", TERM="xterm")


class Run:
    """One finished run of dmemctl."""

    def __init__(self, arguments, done):
        self.arguments = arguments
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def __str__(self):
        return f"dmemctl {' '.join(self.arguments)}: exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def ctl(*arguments, user=None, stdout=subprocess.PIPE, **environment):
    """Run dmemctl; keyword arguments are environment variables, None removes one."""
    arguments = [str(argument) for argument in arguments]
    merged = {k: v for k, v in {**ENVIRONMENT, **environment}.items() if v is not None}
    done = subprocess.run([str(DMEMCTL), *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, env=merged,
                          user=user, group=user, extra_groups=[] if user is not None else None, timeout=60,
                          stdin=subprocess.DEVNULL, check=False)
    return Run(arguments, done)


def good(*arguments, **keywords):
    """Run dmemctl, which must succeed and say nothing on stderr; gives its stdout."""
    run = ctl(*arguments, **keywords)
    assert run.code == 0 and run.err == "", run
    return run.out


def good_json(*arguments, **keywords):
    return json.loads(good(*arguments, "--json", **keywords))


def bad(code, *arguments, says=(), **keywords):
    """Run dmemctl, which must fail with `code` and one line that contains each string of `says`; then the same with
    --json, which must give one document with the same message."""
    run = ctl(*arguments, **keywords)
    assert run.code == code, run
    assert run.out == "", run
    lines = run.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("dmemctl: "), run
    for text in says:
        assert str(text) in lines[0], f"{text!r} is not in: {run}"
    again = ctl("--json", *arguments, **keywords)
    assert again.code == code, again
    error = json.loads(again.out)["error"]
    assert set(error) == {"code", "name", "message"}, again
    assert isinstance(error["code"], int) and error["code"] < 0, again
    assert error["name"].startswith(("E", "DMEM_E_")), again
    assert error["message"] == lines[0].removeprefix("dmemctl: "), again
    return error


def on_terminal(*arguments, columns=80, **environment):
    """Run dmemctl with a terminal as its stdout; gives what it wrote there."""
    merged = {k: v for k, v in {**ENVIRONMENT, "COLUMNS": str(columns), **environment}.items() if v is not None}
    ours, theirs = pty.openpty()
    with subprocess.Popen([str(DMEMCTL), *[str(a) for a in arguments]], stdout=theirs, env=merged) as process:
        os.close(theirs)
        output = b""
        with contextlib.suppress(OSError):  # EIO: the last writer has closed the terminal
            while piece := os.read(ours, 65536):
                output += piece
        os.close(ours)
        assert process.wait(60) == 0, output
    return output.decode()


_count = 0


@contextlib.contextmanager
def pool(*options, size="256M"):
    """A pool, created and destroyed again; gives its URI."""
    uri = fresh_uri()
    good("create", uri, "--size", size, *options)
    try:
        yield uri
    finally:
        for path in SHM.iterdir():
            path.unlink()


def fresh_uri():
    global _count
    _count += 1
    return f"file:{SHM}/pool{_count}"


def path_of(uri):
    return pathlib.Path(uri.removeprefix("file:"))


_holder = None


def holder_program():
    """The compiled program/holder.c, built as the library is."""
    global _holder
    if _holder is None:
        program = SCRATCH / "holder"
        library = BUILD / "libdmem.so"
        flags = ["-fsanitize=address,undefined"] if b"__asan_init" in library.read_bytes() else []
        subprocess.run([os.environ.get("CC", "cc"), *flags, str(HERE / "program/holder.c"), f"-I{SOURCE}/include",
                        f"-L{BUILD}", "-ldmem", f"-Wl,-rpath,{BUILD}", "-o", str(program)], check=True)
        _holder = program
    return _holder


@contextlib.contextmanager
def member(uri, **environment):
    """A living member with blocks and roots in the pool; gives its process and the addresses it printed."""
    process = subprocess.Popen([str(holder_program()), uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**ENVIRONMENT, **environment})
    addresses = {}
    try:
        for line in process.stdout:
            if line == "ready\n":
                break
            name, address = line.split()
            addresses[name] = address
        else:
            raise AssertionError(f"the member ended: {process.wait()}")
        yield process, addresses
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


CASES = []


def case(function):
    CASES.append(function)
    return function


def run_cases():
    """Run all cases; prints a line for each and the sum last; gives the exit code."""
    failed = 0
    try:
        for function in CASES:
            try:
                skipped = function()
            except Exception as error:  # whatever goes wrong is this case's failure
                failed += 1
                print(f"not ok {function.__name__}")
                print("  " + f"{type(error).__name__}: {error}".replace("\n", "\n  "))
            else:
                print(f"ok {function.__name__}" + (f" # SKIP {skipped}" if skipped else ""))
            sys.stdout.flush()
    finally:
        shutil.rmtree(SCRATCH)
        shutil.rmtree(SHM)
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0
