#!/bin/sh
# Mirror a release: mirror.sh rsync://HOST/{{ release.name }}/ FOLDER [MAX_DELETE]
#
# RELEASE.json, by which a copy is a release, is removed before the first file moves and written when all are there, so
# a copy that broke off never looks complete. Images come first, then documents; deletes last, and never more than
# MAX_DELETE files (default 50000). If the release is replaced meanwhile, or files vanish, it begins again, five times
# at most. After any error, run it again; a copy that is up to date already is only compared.
# FOLDER.trace says when it last succeeded, and with which release. Serve it beside the copy, and tell the publisher the
# address of both: the page of mirrors shows it.
# Rename a copy of an older release to the new name first; one that was made without times (rsync -r) needs
# RSYNC_FLAGS=--size-only once. MIRROR_PAUSE is the number of seconds to wait before it begins again (default 10).
set -eu

usage="usage: mirror.sh rsync://HOST/{{ release.name }}/ FOLDER [MAX_DELETE]"
source=${1:?$usage}
source=${source%/}
folder=${2:?$usage}
folder=${folder%/}
most=${3:-50000}
flags="-rt --delay-updates ${RSYNC_FLAGS:-}"
mkdir -p "$folder"
mark=$(mktemp -d)
trap 'rm -rf "$mark"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if command -v flock > /dev/null 2>&1; then
    exec 9> "$folder.lock"
    flock -n 9 || { echo "another mirror.sh copies into $folder" >&2; exit 1; }
fi

# Where the server has no symbolic links, `current` is a file with the name of the newest release beside it.
case $source in
    */current)
        rsync -t "$source" "$mark/current" > /dev/null 2>&1 || true
        [ ! -f "$mark/current" ] || name=$(grep -x 'danbooru[0-9][0-9][0-9][0-9]' "$mark/current") ||
            { echo "$source is neither a release nor the name of one" >&2; exit 1; }
        source=${source%/current}/${name:-current}
        ;;
esac

# Runs rsync. Fails when the release may have been replaced meanwhile; any other error ends the script.
pull() {
    status=0
    # shellcheck disable=SC2086
    rsync $flags "$@" || status=$?
    case $status in
        0) return 0 ;;
        5 | 23 | 24) return 1 ;; # the folder was being replaced, or files vanished or could not be read
        *) exit "$status" ;;
    esac
}

# Whether the copy was whole before, and there is nothing to move.
is_current() {
    cmp -s "$mark/before" "$folder/RELEASE.json" || return 1
    pull --dry-run --itemize-changes --delete --exclude='/RELEASE.json' "$source/" "$folder/" > "$mark/moves" || return 1
    ! grep -q '^[><c*]' "$mark/moves"
}

# Whether every file is there that the lists of the release name: rsync passes over what lies in the source as a link or a
# pipe, or does not lie there at all, and says that all went well.
is_whole() {
    {
        echo SHA256SUMS
        [ ! -f "$folder/allowed_signers" ] || echo SHA256SUMS.sig
        cut -c 67- "$folder/SHA256SUMS"
        find "$folder/checksums" -type f -name '*.sha256' -exec cut -c 67- {} +
    } 2> /dev/null | LC_ALL=C sort -u > "$mark/listed"
    (unset CDPATH && cd "$folder" && find . -type f) | cut -c 3- | LC_ALL=C sort > "$mark/present"
    LC_ALL=C comm -23 "$mark/listed" "$mark/present" > "$mark/missing"
    [ -s "$mark/missing" ] || return 0
    echo "$(wc -l < "$mark/missing" | tr -d ' ') files did not come, among them $(head -n 1 "$mark/missing")" >&2
    return 1
}

copy() {
    rm -rf "$mark/before" "$mark/after"
    why="the source has no release now"
    pull "$source/RELEASE.json" "$mark/before" || return 1
    [ -f "$mark/before" ] || return 1 # rsync passes over a link, and says that all went well
    why="the release was replaced during the copy, or files could not be read"
    if is_current; then
        pull "$source/RELEASE.json" "$mark/after" && cmp -s "$mark/before" "$mark/after"
        return
    fi
    # From here on the copy is neither the old release nor the new one.
    rm -f "$folder/RELEASE.json"
    pull --exclude='/512px/metadata.parquet' --include='/original/' --include='/512px/' \
        --include='/original/**' --include='/512px/**' --exclude='*' "$source/" "$folder/" || return 1
    pull --delete-delay --max-delete="$most" --exclude='/RELEASE.json' "$source/" "$folder/" || return 1
    pull "$source/RELEASE.json" "$mark/after" || return 1
    cmp -s "$mark/before" "$mark/after" || return 1
    is_whole || return 1
    # What an earlier copy left unfinished, of files that need no update any more.
    rm -rf "$folder"/.~tmp~ "$folder"/*/.~tmp~ "$folder"/*/*/.~tmp~
    sync
    cp -p "$mark/after" "$folder/.RELEASE.json.part"
    mv "$folder/.RELEASE.json.part" "$folder/RELEASE.json"
}

# A field of a RELEASE.json itself, by its indentation: the releases that it names have the same fields.
value() {
    sed -n "s/^  \"$1\": \"\(.*\)\",*\$/\1/p" "$2" | head -n 1
}

for try in 1 2 3 4 5; do
    if copy; then
        {
            echo "succeeded: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
            echo "release: $(value name "$mark/after") $(value version "$mark/after")"
            echo "checksum: $(value sha256sums_sha256 "$mark/after")"
            echo "source: $source/"
            echo "tool: mirror.sh of {{ release.name }} {{ release.version }}, $(rsync --version | sed -n '1s/ *protocol.*//p')"
        } > "$folder.trace.new"
        mv "$folder.trace.new" "$folder.trace"
        echo "mirrored into $folder"
        exit 0
    fi
    echo "$why; beginning again ($try)" >&2
    [ "$try" -eq 5 ] || sleep "${MIRROR_PAUSE:-10}"
done
state="is not a release"
kept=$folder/RELEASE.json
[ ! -f "$kept" ] || state="is still $(value name "$kept") $(value version "$kept"), as it was"
echo "gave up after five attempts: $why; $folder $state; run it again later" >&2
[ "$status" -ne 0 ] || status=1
exit "$status"
