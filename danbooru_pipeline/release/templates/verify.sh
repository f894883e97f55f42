#!/bin/sh
# Verify this release with nothing but a POSIX shell, coreutils and xz: sh verify.sh [FOLDER [SIGNERS]]
#
# Finds files that are missing, extra or altered, links and special files, and what RELEASE.json says; checks the
# signature where ssh-keygen is installed, by default with the key that the release names, better with your own copy of
# it: SIGNERS is a file as ssh-keygen -Y reads it. Prints a line for each finding. Exit codes: 0 all is well; 1 findings;
# 2 not a release. An attacker could have changed this script with the rest: take it from a copy that you trust.
set -u
LC_ALL=C
export LC_ALL
unset CDPATH

folder=${1:-$(dirname -- "$0")}
signers=${2:-}
case $signers in '' | /*) ;; *) signers=$PWD/$signers ;; esac
cd -- "$folder" || exit 2
if [ -L RELEASE.json ] || [ ! -f RELEASE.json ]; then
    echo "verify.sh: $folder has no RELEASE.json: not a release, or not whole yet" >&2
    exit 2
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 2' HUP INT TERM
: >"$work/found"

found() { printf '%s\n' "$*" >>"$work/found"; }
sum_of() { sha256sum <"$1" | cut -c 1-64; }
# Lines of the first sorted list that the second does not have: a line of it alone is the only one that stands once.
only_in() { sort "$1" "$2" "$2" | uniq -u; }
each() { while IFS= read -r name; do found "$1: $name"; done; }
is_file() { [ -f "$1" ] && [ ! -L "$1" ]; }
# No path of a list may lead out of the release, or be what sha256sum takes for its standard input.
is_inside() { case "/$1/" in /-/ | *//* | */./* | */../*) return 1 ;; esac; }
digits='[0-9a-f]'
for _ in 2 4 8 16 32 64; do digits=$digits$digits; done
# shellcheck disable=SC2254
is_sum() { case $1 in $digits) ;; *) return 1 ;; esac; }
# Whether a file has more bytes than any honest one; of a terabyte no more is read than that takes.
is_too_long() { [ "$(head -c "$(($2 + 1))" "$1" | wc -c)" -gt "$2" ]; }

# A list of checksums: every line is one, and what it names are files, whose content is as it says.
check_list() {
    : >"$work/list"
    while IFS= read -r line || [ -n "$line" ]; do
        name=${line#*  }
        sum=${line%%  *}
        if [ "$sum  $name" != "$line" ] || ! is_sum "$sum" || ! is_inside "$name"; then
            found "damaged line in $1: $line"
        elif is_file "$name"; then
            printf '%s\n' "$line" >>"$work/list"
        fi
    done <"$1"
    [ -s "$work/list" ] || return 0
    sha256sum -c "$work/list" </dev/null >"$work/said" 2>/dev/null && return 0
    while IFS= read -r line; do
        case $line in *': OK') ;; *) found "altered: ${line%: FAILED*}" ;; esac
    done <"$work/said"
}

# Paths of the files and folders in a folder, one a line, folders with a slash. All else is a finding: links, pipes,
# devices, and the halves of a name with a newline.
paths_in() {
    ls -A -- "$1" | while IFS= read -r name; do
        path=$name
        [ "$1" = . ] || path=$1/$name
        case $name in '' | . | ..) found "extra: $path" && continue ;; esac
        if [ -L "$path" ]; then
            found "extra: $path@"
        elif [ -f "$path" ]; then
            printf '%s\n' "$path"
        elif [ -d "$path" ]; then
            printf '%s\n' "$path/"
        else
            found "extra: $path|"
        fi
    done
}

# Every file outside of the buckets; an empty folder is a finding.
walk() {
    paths_in "$1" >"$work/$2"
    [ -s "$work/$2" ] || [ "$1" = original ] || [ "$1" = 512px ] || found "empty folder: $1"
    while IFS= read -r path; do
        case $path in
            original/[0-9][0-9][0-9][0-9]/ | 512px/[0-9][0-9][0-9][0-9]/) printf '%s\n' "$path" >>"$work/buckets" ;;
            */) walk "${path%/}" "$2x" ;;
            *) printf '%s\n' "$path" ;;
        esac
    done <"$work/$2"
}

# 1. SHA256SUMS and the documents.
: >"$work/sums"
if ! is_file SHA256SUMS; then
    found "missing: SHA256SUMS"
elif is_too_long SHA256SUMS 67108864; then
    found "too long: SHA256SUMS"
else
    cat SHA256SUMS >"$work/sums"
fi
: >"$work/buckets"
walk . walk | sort >"$work/present"
cut -c 67- "$work/sums" | sort >"$work/listed"
printf '%s\n' RELEASE.json SHA256SUMS SHA256SUMS.sig | sort >"$work/apart"
only_in "$work/listed" "$work/present" | each missing
sort "$work/listed" "$work/apart" >"$work/known"
only_in "$work/present" "$work/known" | each extra
sort "$work/present" | uniq -d | each extra
sort "$work/listed" | uniq -d | each "listed twice"
check_list "$work/sums"

# 2. RELEASE.json: it names this SHA256SUMS, and says what RELEASE.content.json says, which the list has: byte for byte,
# since a shell reads text and passes over zeros and what stands behind the last newline. The line that names SHA256SUMS
# stands before when the release was made, in every version, and nowhere else: in another object it would be another key.
mark='  "sha256sums_sha256": "'
head -c 16777216 RELEASE.json >"$work/release"
: >"$work/mark"
while IFS= read -r line; do
    case $line in "$mark"*) printf '%s\n' "$line" >>"$work/mark" ;; esac
done <"$work/release"
if [ -s "$work/sums" ] && [ "$(cat "$work/mark")" != "$mark$(sum_of "$work/sums")\"," ]; then
    found "RELEASE.json does not name this SHA256SUMS"
fi
if is_file RELEASE.content.json; then
    head -c 16777216 RELEASE.content.json >"$work/content"
    before=
    number=0
    while IFS= read -r line && [ -z "$before" ]; do
        case $line in '  "created_at": '*) before=$number ;; esac
        number=$((number + 1))
    done <"$work/content"
    {
        head -n "${before:-0}" "$work/content"
        cat "$work/mark"
        tail -n "+$((${before:-0} + 1))" "$work/content"
    } >"$work/whole"
    if [ -z "$before" ] || is_too_long RELEASE.json 16777216 ||
        [ "$(sum_of "$work/release")" != "$(sum_of "$work/whole")" ]; then
        found "altered: RELEASE.json says something else than RELEASE.content.json"
    fi
else
    echo "note: made before version 0.3: nothing covers what RELEASE.json says"
fi

# 3. Each bucket: its folder has the files of its list and nothing else, and they are not altered.
: >"$work/images"
for tree in 512px original; do
    for list in "checksums/$tree/"[0-9][0-9][0-9][0-9].sha256; do
        is_file "$list" || continue
        bucket=$tree/$(basename "$list" .sha256)
        cut -c 67- "$list" >>"$work/images"
        cut -c 67- "$list" | sort >"$work/listed"
        if [ -L "$bucket" ] || [ ! -d "$bucket" ]; then
            : >"$work/present"
        else
            paths_in "$bucket" | sort >"$work/present"
        fi
        only_in "$work/listed" "$work/present" | each missing
        only_in "$work/present" "$work/listed" | each extra
        uniq -d "$work/present" | each extra
        while IFS= read -r name; do
            case $name in "$bucket"/*) ;; *) found "damaged line in $list: $name" ;; esac
        done <"$work/listed"
        check_list "$list"
    done
done
while IFS= read -r bucket; do
    is_file "checksums/${bucket%/}.sha256" || found "extra: ${bucket%/}"
done <"$work/buckets"

# 4. The list of all files has the same images. No more is unpacked than these need, and a byte.
if is_file filelist.txt.xz; then
    most=$(($(wc -c <"$work/images") + 2 * $(wc -l <"$work/images") + 1))
    xz -dc filelist.txt.xz 2>/dev/null | head -c "$most" | cut -c 3- | sort >"$work/filelist"
    sort "$work/images" >"$work/present"
    only_in "$work/filelist" "$work/present" | each "in filelist.txt.xz, but not in checksums/"
    only_in "$work/present" "$work/filelist" | each "not in filelist.txt.xz"
fi

# 5. The signature: one, to the last byte, since ssh-keygen passes over what stands behind it.
is_one_signature() {
    ! is_too_long "$1" 1048576 || return 1
    {
        echo '-----BEGIN SSH SIGNATURE-----'
        head -n "$(($(wc -l <"$1") - 1))" "$1" 2>/dev/null | tail -n +2 | tr -cd 'A-Za-z0-9+/=' | fold -w 70
        printf '\n%s\n' '-----END SSH SIGNATURE-----'
    } >"$work/signature"
    [ "$(sum_of "$1")" = "$(sum_of "$work/signature")" ]
}
keys=${signers:-allowed_signers}
if [ ! -e SHA256SUMS.sig ]; then
    [ -z "$signers" ] && [ ! -e allowed_signers ] || found "not signed"
    word="not signed"
elif ! is_file SHA256SUMS.sig || ! is_one_signature SHA256SUMS.sig; then
    found "SHA256SUMS.sig is not one signature and nothing else"
    word="signature bad"
elif ! command -v ssh-keygen >/dev/null 2>&1; then
    word="signature not checked: ssh-keygen is not installed"
    [ -z "$signers" ] || found "$word"
elif [ -f "$keys" ] && ssh-keygen -q -Y verify -f "$keys" \
    -I danbooru-release -n danbooru-release -s SHA256SUMS.sig <"$work/sums" >/dev/null 2>&1; then
    word="signature good"
else
    found "the signature is not good by a key in $keys"
    word="signature bad"
fi

count=$(wc -l <"$work/found" | tr -d ' ')
cat "$work/found"
if [ "$count" -eq 0 ]; then
    echo "all is well; $word"
    exit 0
fi
echo "$count findings; $word"
exit 1
