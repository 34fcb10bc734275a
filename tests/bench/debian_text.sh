#!/usr/bin/env bash
# Prints the path of a text that a Debian package carries, fetched into the folder given once (apt-get, no root). Its name has the package's version: another version is another text.
set -euo pipefail
usage='usage: tests/bench/debian_text.sh PACKAGE PATH_IN_PACKAGE.gz FOLDER'
package=${1:?$usage} path=${2:?$usage} folder=${3:?$usage}
mkdir -p "$folder"
if ! compgen -G "$folder/${package}_*.txt" >/dev/null; then
    (cd "$folder" && apt-get download -q "$package" >&2)
    deb=$(compgen -G "$folder/${package}_*.deb" | head -n 1)
    dpkg-deb --fsys-tarfile "$deb" | tar -xO "./$path" | gunzip > "$deb.part"
    mv "$deb.part" "${deb%.deb}.txt"
    rm "$deb"
fi
compgen -G "$folder/${package}_*.txt" | head -n 1
