#!/usr/bin/env bash
# Installs libentrocodec to a folder of its own, builds the example against that alone, shared and static, and runs it:
# installed.sh BUILD_FOLDER C_COMPILER [FLAGS...]
set -euo pipefail
source_folder=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: installed.sh BUILD_FOLDER C_COMPILER [FLAGS...]} compiler=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cmake --install "$build" --prefix "$work/installed" --component entrocodec >/dev/null
PKG_CONFIG_PATH=$(dirname "$(find "$work/installed" -name entrocodec.pc)")
export PKG_CONFIG_PATH
read -ra cflags <<<"$(pkg-config --cflags entrocodec)"
read -ra libs <<<"$(pkg-config --libs entrocodec)"
# Only this library statically: the system's need not exist in that form.
read -ra static_libs <<<"$(pkg-config --static --libs entrocodec | sed 's/-lentrocodec/-l:libentrocodec.a/')"
libdir=$(pkg-config --variable=libdir entrocodec)

"$compiler" -std=c11 -Wall -Wextra -Werror "$@" "${cflags[@]}" "$source_folder/compress_file.c" "${libs[@]}" -o shared
"$compiler" -std=c11 -Wall -Wextra -Werror "$@" "${cflags[@]}" "$source_folder/compress_file.c" "${static_libs[@]}" -o static

# Nothing but the header's functions is visible. C++ may include it (where there is a C++ compiler beside the C one).
header=$(find "$work/installed" -name '*.h')
[ "$(wc -l <<<"$header")" = 1 ]
if "$compiler" -x c++ -fsyntax-only /dev/null 2>/dev/null; then
    "$compiler" -x c++ -Wall -Wextra -Werror -fsyntax-only "$header"
fi
nm -D --defined-only "$libdir/libentrocodec.so" | awk '$2 == "T" {print $3}' | grep -v -E '^(__|_init|_fini)' | sort >exported
grep -oE 'entro_[a-z_]+\(' "$header" | tr -d '(' | sort -u >declared
diff declared exported

# Any file will do that is larger than a few blocks; and an empty one.
cat "$build"/codec/CMakeFiles/entrocodec_static.dir/*.o >some.bytes
: >no.bytes
for bytes in some.bytes no.bytes; do
    LD_LIBRARY_PATH=$libdir ./shared $bytes frame
    ./static $bytes frame.static
    cmp frame frame.static
    ./static -d frame back
    cmp $bytes back
    LD_LIBRARY_PATH=$libdir ./shared -d frame back
    cmp $bytes back
done
./static some.bytes frame
[ "$(stat -c %s frame)" -lt "$(stat -c %s some.bytes)" ]
head -c 1000 frame >cut
if ./static -d cut back 2>message; then
    echo "a frame cut short is accepted" >&2
    exit 1
fi
grep -q malformed message
