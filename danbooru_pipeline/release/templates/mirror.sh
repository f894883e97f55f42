#!/bin/sh
# Mirror a release: mirror.sh rsync://HOST/{{ release.name }}/ FOLDER [MAX_DELETE]
#
# Images first, and nothing deleted; papers after them; what is gone last, and never more than MAX_DELETE files (default
# 50000). RELEASE.json goes away before the first paper changes and comes back at the very end, so a copy that was cut
# off never looks whole. If the release was replaced meanwhile, it begins again. Run it again after any error.
# A copy of an older release is renamed to the new name first; one that was made without times (rsync -r) needs
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
    echo "the release was replaced while it was copied; beginning again ($try)" >&2
done
echo "the release was replaced five times; try later" >&2
exit 1
