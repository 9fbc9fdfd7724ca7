#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_shim.sh [BUILD]: real programs under libdmem_preload.so, with everything local and with nearly everything in the
# pool.  What they print and their exit status must be what they are without the shim.  Prints "ok NAME" or "not ok NAME"
# for each case, and a last line "N passed, N failed".
set -u

BUILD=$(realpath "${1:-${DMEM_BUILD_DIR:-build/dev}}")
HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
SHIM=${DMEM_PRELOAD:-$BUILD/libdmem_preload.so}
LIBRARY=$(dirname "$SHIM")/libdmem.so
PROGRAMS=$BUILD/tests
CC=${CC:-cc}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/dmem-preload.XXXXXX")
POOL_FILE=/dev/shm/$(basename "$WORK")
export DMEM_REGISTRY=$WORK/registry
unset DMEM_POOL DMEM_LOCAL_MAX DMEM_STATS DMEM_PRELOAD_EXCLUDE LD_PRELOAD EXPECT_POOL
export HOME=$WORK LC_ALL=C
passed=0
failed=0

cleanup() { rm -rf "$WORK" "$POOL_FILE" "$POOL_FILE".*; }
trap cleanup EXIT

ok() {
	passed=$((passed + 1))
	echo "ok $1"
}

not_ok() {
	failed=$((failed + 1))
	echo "not ok $1: $2"
	[ -z "${3:-}" ] || head -c 2000 "$3" | sed 's/^/# /'
}

# make_pool FILE SIZE: with the library itself, through its C interface.
make_pool() {
	"$PYTHON" - "$LIBRARY" "$1" "$2" <<'END'
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.dmem_last_error.restype = ctypes.c_char_p
uri = f"file:{sys.argv[2]}?size={sys.argv[3]}"
if library.dmem_pool_create(uri.encode(), None):
    sys.exit(library.dmem_last_error().decode())
END
}

remove_pool() {
	"$PYTHON" - "$LIBRARY" "$1" <<'END'
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.dmem_last_error.restype = ctypes.c_char_p
if library.dmem_pool_destroy(f"file:{sys.argv[2]}".encode()):
    sys.exit(library.dmem_last_error().decode())
END
}

# What a pool says about itself when its structures are checked.
check_pool() {
	"$PYTHON" - "$LIBRARY" "$1" <<'END'
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.dmem_last_error.restype = ctypes.c_char_p
pool = ctypes.c_void_p()
if library.dmem_pool_attach(f"file:{sys.argv[2]}".encode(), None, ctypes.byref(pool)):
    sys.exit(library.dmem_last_error().decode())
finding = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)(lambda _, text: print(text.decode()))
sys.exit(1 if library.dmem_pool_validate(pool, finding, None) else 0)
END
}

# under MODE COMMAND...: MODE is none, local or pool.
under() {
	local mode=$1
	shift
	case $mode in
	none) "$@" ;;
	local) LD_PRELOAD=$SHIM EXPECT_POOL=0 "$@" ;;
	pool) DMEM_POOL=file:$POOL_FILE DMEM_LOCAL_MAX=1M DMEM_STATS=1 EXPECT_POOL=1 LD_PRELOAD=$SHIM "$@" ;;
	esac
}

# How much the report of the exit says was in the pool at most, over all processes, in KiB.
pool_peak() {
	sed -n 's/^libdmem_preload: .* pool [-0-9]* KiB (peak \([0-9]*\) KiB.*/\1/p' "$1" | sort -n | tail -1
}

# compare NAME uses_pool|- COMMAND...: run it three ways.
compare() {
	local name=$1 uses=$2 mode status expected
	shift 2
	for mode in none local pool; do
		(cd "$WORK" && under "$mode" timeout 240 "$@") >"$WORK/out.$mode" 2>"$WORK/err.$mode" </dev/null
		status=$?
		[ "$mode" != none ] || { expected=$status && continue; }
		if [ "$status" != "$expected" ]; then
			not_ok "$name.$mode" "exit status $status, without the shim $expected" "$WORK/err.$mode"
		elif ! cmp -s "$WORK/out.none" "$WORK/out.$mode"; then
			not_ok "$name.$mode" "its output differs" "$WORK/out.$mode"
		elif [ "$mode" = local ] && grep -q libdmem "$WORK/err.$mode"; then
			not_ok "$name.$mode" "the shim said something" "$WORK/err.$mode"
		elif grep -q "no memory from the pool" "$WORK/err.$mode"; then
			not_ok "$name.$mode" "the pool was not used" "$WORK/err.$mode"
		elif [ "$mode" = pool ] && [ "$uses" = uses_pool ] && [ "$(pool_peak "$WORK/err.$mode")" -lt 256 ]; then
			not_ok "$name.$mode" "next to nothing was in the pool" "$WORK/err.$mode"
		else
			ok "$name.$mode"
		fi
	done
}

# falls_back NAME PATTERN COMMAND...: under a pool that gives nothing, with one warning, as without the shim.
falls_back() {
	local name=$1 pattern=$2 status=0
	shift 2
	(cd "$WORK" && "$@") >"$WORK/out.back" 2>"$WORK/err.back" </dev/null || status=$?
	if [ "$status" != 0 ] || ! grep -qE "(is|are) well" "$WORK/out.back"; then
		not_ok "$name" "exit status $status" "$WORK/err.back"
	elif [ "$(grep -c "no memory from the pool" "$WORK/err.back")" != 1 ]; then
		not_ok "$name" "not one warning" "$WORK/err.back"
	elif ! grep -q "$pattern" "$WORK/err.back"; then
		not_ok "$name" "the warning does not say $pattern" "$WORK/err.back"
	else
		ok "$name"
	fi
}

own_programs() {
	compare family uses_pool "$PROGRAMS/preload_family"
	compare forks uses_pool "$PROGRAMS/preload_forks"
	compare threads uses_pool "$PROGRAMS/preload_threads"
	compare greedy uses_pool "$PROGRAMS/preload_greedy"
	if "$CC" -shared -fPIC -fno-builtin -o "$WORK/plugin.so" "$HERE/sources/plugin.c"; then
		compare plugins uses_pool "$PROGRAMS/preload_plugins" "$WORK/plugin.so"
	else
		not_ok plugins "the plugin does not compile"
	fi
	if c++ -std=c++17 -O1 -o "$WORK/containers" "$HERE/sources/containers.cc" -pthread; then
		compare containers uses_pool "$WORK/containers"
	else
		not_ok containers "it does not compile"
	fi
}

real_programs() {
	compare python_json uses_pool env PYTHONHASHSEED=0 "$PYTHON" -c '
import json
data = {str(i): [i, str(i) * 3, {"x": i / 7}] for i in range(40000)}
text = json.dumps(data)
print(len(text), json.loads(text) == data)'
	compare python_malloc uses_pool env PYTHONMALLOC=malloc "$PYTHON" -c '
words = [str(i) * (i % 20) for i in range(200000)]
print(len(set(words)), sum(map(len, words)))'
	compare python_threads uses_pool "$PYTHON" -c '
import threading
results = [0] * 8
def work(i):
    results[i] = sum(len(str(j)) for j in [k * i for k in range(30000)])
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(results)'
	compare python_processes uses_pool "$PYTHON" -c '
import multiprocessing, os, subprocess
data = list(range(300000))
def work(i):
    data[i] = int(str(data[i]))
    return sum(data[: i + 1])
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(work, range(0, 3000, 7))[-3:])
print(subprocess.run(["cat"], input=b"x" * 2000000, stdout=subprocess.PIPE).stdout.count(b"x"))
pid = os.fork()
if pid == 0:
    os._exit(len([str(i) for i in data]) % 251)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), sum(data))'
	compare sqlite uses_pool sqlite3 :memory: "
create table t(id integer primary key, name text, value real);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 100000)
insert into t select x, printf('name %d', x * 7919 % 100003), x / 3.0 from c;
create index by_name on t(name);
select count(*), sum(value), min(name), max(name) from t;
select name, count(*) from t group by substr(name, -1) order by name limit 12;"
	compare git - "$HERE/sources/git_session.sh" "$WORK"
	compare sort uses_pool bash -c 'seq 200000 | sort -R --random-source=/dev/zero | sort -n | md5sum'
	compare grep - grep -rhoE "[a-z]+_t\b" /usr/include/unistd.h /usr/include/stdlib.h
	compare gcc uses_pool bash -c 'cc -O2 -S -o - "$1"/sources/plugin.c | md5sum' bash "$HERE"
	compare gxx uses_pool bash -c 'c++ -std=c++17 -O1 -S -o - "$1"/sources/containers.cc | md5sum' bash "$HERE"
}

pools_that_give_nothing() {
	local limit="DMEM_LOCAL_MAX=1M LD_PRELOAD=$SHIM" small=$POOL_FILE.small status=0
	# Words of the list are meant to be split.
	# shellcheck disable=SC2086
	{
		falls_back missing_pool "$WORK/nowhere" env DMEM_POOL="file:$WORK/nowhere" $limit "$PROGRAMS/preload_threads"
		echo "this is not a pool" >"$WORK/text"
		falls_back not_a_pool "$WORK/text" env DMEM_POOL="file:$WORK/text" $limit "$PROGRAMS/preload_threads"
		falls_back bad_uri "no-such-scheme" env DMEM_POOL="no-such-scheme:x" $limit "$PROGRAMS/preload_threads"
		make_pool "$small" 64M || status=1
		falls_back full_pool "" env DMEM_POOL="file:$small" $limit "$PROGRAMS/preload_greedy"
		chmod 0400 "$small"
		if [ "$(id -u)" = 0 ]; then
			chmod 0755 "$WORK"
			falls_back unwritable_pool "$small" setpriv --reuid 65534 --regid 65534 --clear-groups \
				env DMEM_REGISTRY=/dev/null DMEM_POOL="file:$small" $limit "$PROGRAMS/preload_threads"
		else
			falls_back unwritable_pool "$small" env DMEM_POOL="file:$small" $limit "$PROGRAMS/preload_threads"
		fi
		chmod 0600 "$small"
	}
	[ "$status" = 0 ] || not_ok small_pool "it can't be made"
	remove_pool "$small" || not_ok small_pool "it can't be removed"
}

# says NAME PATTERN COMMAND...: its stderr, under the shim.
says() {
	local name=$1 pattern=$2 said
	shift 2
	said=$("$@" 2>&1 >/dev/null)
	if [[ $said =~ $pattern ]]; then
		ok "$name"
	else
		not_ok "$name" "it said: $said"
	fi
}

settings() {
	says stats_at_exit "^libdmem_preload: true\[[0-9]+\]: local [0-9]+ KiB .*pool 0 KiB" \
		env DMEM_STATS=1 LD_PRELOAD="$SHIM" true
	says silent_by_default '^$' env LD_PRELOAD="$SHIM" true
	says excluded_program '^$' env DMEM_STATS=1 DMEM_PRELOAD_EXCLUDE=false,true LD_PRELOAD="$SHIM" true
	says not_excluded '^libdmem_preload: ' env DMEM_STATS=1 DMEM_PRELOAD_EXCLUDE=tru,rue LD_PRELOAD="$SHIM" true
	says bad_limit 'DMEM_LOCAL_MAX=1X is not a size' env DMEM_LOCAL_MAX=1X LD_PRELOAD="$SHIM" true
	says huge_limit 'is not a size' env DMEM_LOCAL_MAX=99999999999T LD_PRELOAD="$SHIM" true
	if [ "$(id -u)" = 0 ] && cp "$(type -P true)" "$WORK/privileged" && chown 65534 "$WORK/privileged" &&
		chmod 4755 "$WORK/privileged"; then
		says setuid_program_is_left_alone '^(ERROR: ld.so: .*)?$' env DMEM_STATS=1 LD_PRELOAD="$SHIM" "$WORK/privileged"
	fi
}

# A program may close files that it did not open, and open others in their place: those must not be taken for the pool.
strange_files() {
	local status=0
	mkdir "$WORK/files"
	(cd "$WORK/files" && under pool "$PYTHON" -c '
import os
first = [str(i) for i in range(100000)]
os.closerange(3, 1024)
files = [os.open(f"file{i}", os.O_RDWR | os.O_CREAT) for i in range(100)]
for fd in files:
    os.ftruncate(fd, 1 << 32)
second = [str(i) * 3 for i in range(400000)]
large = [bytes(30_000_000) for i in range(10)]
written = [fd for fd in files if os.fstat(fd).st_blocks]
print(len(first) + len(second) + len(large), "written into:", written)') >"$WORK/out.files" 2>"$WORK/err.files" || status=$?
	if [ "$status" = 0 ] && [ "$(cat "$WORK/out.files")" = "500010 written into: []" ]; then
		ok files_of_the_program_are_not_taken_for_the_pool
	else
		not_ok files_of_the_program_are_not_taken_for_the_pool "status $status: $(cat "$WORK/out.files")" "$WORK/err.files"
	fi
}

# Without a limit the shim never touches the pool: no file is made, no thread started.
untouched() {
	local threads
	threads=$(DMEM_POOL=file:$WORK/untouched LD_PRELOAD=$SHIM \
		"$PYTHON" -c 'import os; x = [str(i) for i in range(100000)]; print(len(os.listdir("/proc/self/task")))')
	if [ "$threads" = 1 ] && [ ! -e "$WORK/untouched" ]; then
		ok pool_is_untouched_without_a_limit
	else
		not_ok pool_is_untouched_without_a_limit "$threads threads"
	fi
}

# All processes are gone: what they had is free again, and the pool is whole.
pool_is_whole() {
	if check_pool "$POOL_FILE" >"$WORK/findings" 2>&1; then
		ok pool_is_whole_afterwards
	else
		not_ok pool_is_whole_afterwards "it is damaged" "$WORK/findings"
	fi
}

# A python3 proper: a wrapper script would be what is tested.
PYTHON=$(python3 -c 'import sys; print(sys.executable)')
for needed in "$SHIM" "$LIBRARY" "$PROGRAMS/preload_family"; do
	[ -e "$needed" ] || { echo "not ok shim: $needed is missing: build first"; exit 1; }
done
make_pool "$POOL_FILE" 2G || { echo "not ok shim: no pool for the tests"; exit 1; }
own_programs
real_programs
pools_that_give_nothing
settings
untouched
strange_files
pool_is_whole
remove_pool "$POOL_FILE" || not_ok remove_pool "somebody is still attached"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
