#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# git_session.sh FOLDER: a repository of its own is made, filled, packed and read; the hashes are the same each time.
set -e
folder=$(mktemp -d "$1/git.XXXXXX")
cd "$folder"
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=none GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=none
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
git init -q -b main
for i in 1 2 3 4 5; do
	seq "$((i * 1000))" "$((i * 1000 + 30000))" >numbers
	cp -r /usr/include/linux/[a-d]*.h . 2>/dev/null || seq 5000 >more
	git add -A
	git commit -q -m "commit $i"
done
git log --format='%H %s' --stat | cat
git -c gc.auto=0 gc -q
git fsck --strict --no-progress
git rev-list --objects --all | wc -l
git diff HEAD~3 HEAD --stat | tail -1
