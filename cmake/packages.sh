#!/usr/bin/env bash
# Installs the Debian packages that building, testing or demonstrating needs; sourced by demo.sh and test.sh.
# install_packages NAME...: does nothing where all are there already; needs root or sudo otherwise.

build_packages=(build-essential cmake ninja-build pkg-config libfuse3-dev fuse3 libxxhash-dev libjansson-dev libpcre2-dev libutf8proc-dev libcmocka-dev)
python_packages=(python3 python3-venv python3-pip)

install_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "these packages are missing, and only root can install them: ${missing[*]}" >&2; return 1; }
        sudo=(sudo)
    fi
    echo "installing: ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# python_environment FOLDER REQUIREMENTS...: a virtual environment that has them.
python_environment() {
    local folder=$1
    shift
    [ -x "$folder/bin/python" ] || /usr/bin/python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# foreign_packages ARCHITECTURE FOLDER NAME...: unpacks packages of another architecture below a folder. They are not
# installed, and nothing about the machine's own packages changes.
foreign_packages() {
    local architecture=$1 folder=$2
    shift 2
    [ -e "$folder/complete" ] && return 0
    rm -rf "$folder"
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
    : >"$folder/apt/status"
    folder=$(realpath "$folder")
    local apt=(apt-get -qq -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
        -o "Dir::State=$folder/apt" -o "Dir::State::status=$folder/apt/status" -o "Dir::Cache=$folder/apt")
    [ "$(id -u)" -ne 0 ] || apt+=(-o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$folder/apt" && "${apt[@]}" download "$@")
    local package
    for package in "$folder"/apt/*.deb; do dpkg-deb -x "$package" "$folder"; done
    rm -rf "$folder/apt"
    : >"$folder/complete"
}
