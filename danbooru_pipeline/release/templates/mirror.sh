#!/bin/sh
# Mirror a release: mirror.sh rsync://HOST/{{ release.name }}/ FOLDER [MAX_DELETE]
#
# Copies images first and deletes nothing, then documents; deletes last, and never more than MAX_DELETE files (default
# 50000). RELEASE.json is removed before the first document changes and written at the very end, so an interrupted copy
# never looks complete. If the release is replaced in the meantime, it starts over. After any error, run it again.
# Rename a copy of an older release to the new name first; one that was made without times (rsync -r) needs
# RSYNC_FLAGS=--size-only once.
set -eu

source=${1:?usage: mirror.sh rsync://HOST/{{ release.name }}/ FOLDER [MAX_DELETE]}
folder=${2:?usage: mirror.sh rsync://HOST/{{ release.name }}/ FOLDER [MAX_DELETE]}
most=${3:-50000}
flags="-rt --delay-updates ${RSYNC_FLAGS:-}"
mkdir -p "$folder"
mark=$(mktemp -d)
trap 'rm -rf "$mark"' EXIT

for try in 1 2 3 4 5; do
    # shellcheck disable=SC2086
    rsync $flags "${source%/}/RELEASE.json" "$mark/before"
    rsync $flags --exclude='/512px/metadata.parquet' --include='/original/' --include='/512px/' \
        --include='/original/**' --include='/512px/**' --exclude='*' "${source%/}/" "$folder/"
    # From here on the copy is neither the old release nor the new one.
    cmp -s "$mark/before" "$folder/RELEASE.json" || rm -f "$folder/RELEASE.json"
    rsync $flags --delete-delay --max-delete="$most" --exclude='/RELEASE.json' "${source%/}/" "$folder/"
    rsync $flags "${source%/}/RELEASE.json" "$mark/after"
    if cmp -s "$mark/before" "$mark/after"; then
        cp -p "$mark/after" "$folder/.RELEASE.json.part"
        mv "$folder/.RELEASE.json.part" "$folder/RELEASE.json"
        echo "mirrored into $folder"
        exit 0
    fi
    echo "the release was replaced during the copy; beginning again ($try)" >&2
done
echo "the release was replaced five times; try later" >&2
exit 1
