#!/usr/bin/env bash
# The memory-limited case of EntroLLM (arXiv 2505.02380), section "limited memory": weights are passed over in the runner's order, again and again, in a memory cgroup that is
# smaller or larger than the raw weights, from a disk as slow as eMMC. Once from raw files, once from a mount whose daemon is in the same cgroup, once from a mount with
# -o lock_image. Prints passes a minute, the speed-up, and what was read from the disk for each pass. Needs root and cgroups (v2, or v1 with memory and blkio).
#   tests/bench/memory_limited.sh [OPTION...]
#     --mib N          size of the raw weights (default 512)       --mbps N     the disk's speed in MB/s (default 250, eMMC 5.1)
#     --bits 8|4       (default both)                              --limits L   memory limits as shares of the raw size (default "1.3 1.1 0.9 0.8 0.7 0.6 0.5 0.4 0.3")
#     --seconds S      least time for each figure (default 5)      --options O  mount options (default cache=8M,max_threads=4: both cost memory within the limit)
#     --folder DIR     where the files lie (default /var/tmp)      --build DIR  build folder (default build/release, built first)
set -euo pipefail
cd "$(dirname "$0")/../.."

mib=512 mbps=250 all_bits="8 4" limits="1.3 1.1 0.9 0.8 0.7 0.6 0.5 0.4 0.3" seconds=5 options=cache=8M,max_threads=4 folder=/var/tmp build=
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
    case $1 in
    --mib) mib=$2 ;; --mbps) mbps=$2 ;; --bits) all_bits=$2 ;; --limits) limits=$2 ;; --seconds) seconds=$2 ;;
    --options) options=$2 ;; --folder) folder=$2 ;; --build) build=$2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
[ "$(id -u)" -eq 0 ] || { echo "needs root: cgroups and a mount in one" >&2; exit 1; }

if [ -z "$build" ]; then
    build=build/release
    cmake --preset release >/dev/null
fi
cmake --build "$build" --target mkentrofs entrofs entrofsck make_model weights_pass >/dev/null
build=$(realpath "$build")
mkentrofs=$build/mkentrofs/mkentrofs entrofs=$build/fs/entrofs

work=$(mktemp -d "$folder/entrofs-limited.XXXXXX")
name=entrofs-bench.$$ memory_group='' io_group='' daemon='' reader=''

clean_up() {
    trap - EXIT INT TERM
    [ -z "$reader" ] || kill "$reader" 2>/dev/null || true
    leave_mount
    remove_groups
    rm -rf --one-file-system "$work"
}
leave_mount() {
    mountpoint -q "$work/mount" && { umount "$work/mount" 2>/dev/null || umount -l "$work/mount"; }
    [ -z "$daemon" ] || { kill "$daemon" || true; wait "$daemon" || true; } 2>/dev/null
    daemon=
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Groups: $1 bytes of memory, $mbps from the disk $device. memory_group and io_group are one in v2.
make_groups() {
    if grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null && grep -qw io /sys/fs/cgroup/cgroup.controllers; then
        echo "+memory +io" >/sys/fs/cgroup/cgroup.subtree_control
        memory_group=/sys/fs/cgroup/$name io_group=$memory_group
        mkdir "$memory_group"
        echo "$1" >"$memory_group/memory.max"
        [ ! -e "$memory_group/memory.swap.max" ] || echo 0 >"$memory_group/memory.swap.max"
        echo "$device rbps=$((mbps * 1000000))" >"$io_group/io.max"
    elif [ -d /sys/fs/cgroup/memory ] && [ -e /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device ]; then
        memory_group=/sys/fs/cgroup/memory/$name io_group=/sys/fs/cgroup/blkio/$name
        mkdir "$memory_group" "$io_group"
        echo "$1" >"$memory_group/memory.limit_in_bytes"
        echo 0 >"$memory_group/memory.swappiness"
        echo "$device $((mbps * 1000000))" >"$io_group/blkio.throttle.read_bps_device"
    else
        echo "neither cgroup v2 (memory, io) nor v1 (memory, blkio) at /sys/fs/cgroup" >&2
        exit 1
    fi
}
remove_groups() {
    local group
    for group in "$memory_group" "$io_group"; do
        [ -z "$group" ] || [ ! -d "$group" ] && continue
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            rmdir "$group" 2>/dev/null && break
            sleep 0.2
        done
    done
    memory_group='' io_group=''
}
# within COMMAND...: becomes the command, in the groups; for a subshell.
within() {
    echo "$BASHPID" >"$memory_group/cgroup.procs"
    [ "$io_group" = "$memory_group" ] || echo "$BASHPID" >"$io_group/cgroup.procs"
    exec "$@"
}
bytes_read() {
    if [ "$io_group" = "$memory_group" ]; then
        sed -n "s/^$device .*rbytes=\([0-9]*\).*/\1/p" "$io_group/io.stat"
    else
        sed -n "s/^$device Read \([0-9]*\)/\1/p" "$io_group/blkio.throttle.io_service_bytes"
    fi
}
n_killed() {
    if [ "$io_group" = "$memory_group" ]; then
        sed -n 's/^oom_kill //p' "$memory_group/memory.events"
    else
        sed -n 's/^oom_kill //p' "$memory_group/memory.oom_control"
    fi
}
# Out of the page cache, so that who reads them first pays for them.
forget() {
    local file
    for file in "$@"; do
        dd if="$file" iflag=nocache count=0 status=none
    done
}

# The whole disk under the folder, as major:minor: what the io controllers take.
find_device() {
    device=$(printf '%d:%d' $(($(stat -c %d "$work") / 256 % 4096)) $(($(stat -c %d "$work") % 256)))
    local path
    path=$(readlink -f "/sys/dev/block/$device") || path=
    if [ ! -d "$path" ]; then
        echo "$folder lies on no block device that could be throttled (tmpfs, overlay?): give another --folder" >&2
        exit 1
    fi
    [ ! -e "$path/partition" ] || device=$(cat "$path/../dev")
}

# measure FILE...: sets rate (passes a minute) and disk_mb (MB from the disk a pass) for the files, in the groups that there are; "-" where the reader was killed.
measure() {
    local before after passes elapsed sum status=0
    rate=- disk_mb=-
    before=$(bytes_read)
    (within "$build/tests/bench/weights_pass" "$seconds" "$@") >"$work/result" 2>"$work/error" &
    reader=$!
    { wait "$reader" || status=$?; } 2>/dev/null # bash would say how it died
    reader=
    after=$(bytes_read)
    if [ "$status" -ne 0 ]; then
        [ "$(n_killed)" -gt 0 ] && { rate=killed; return; }
        cat "$work/error" >&2
        exit 1
    fi
    read -r _ passes elapsed sum <"$work/result"
    : "${expected_sum:=$sum}"
    [ "$sum" = "$expected_sum" ] || { echo "the mount gives other bytes than the raw files" >&2; exit 1; }
    rate=$(awk -v n="$passes" -v s="$elapsed" 'BEGIN { printf "%.1f", 60 * n / s }')
    disk_mb=$(awk -v n="$passes" -v b="$((${after:-0} - ${before:-0}))" 'BEGIN { printf "%.0f", b / 1e6 / (n + 1) }')
}

# measure_mount OPTIONS: as measure, for the files on a mount made in the groups; "killed" or "refused" where it cannot be had.
measure_mount() {
    local i
    rate=refused disk_mb=-
    forget "$image"
    (within "$entrofs" "$image" "$work/mount" -f -o "$1") 2>"$work/log" &
    daemon=$!
    for ((i = 0; i < 3000; i++)); do
        mountpoint -q "$work/mount" && break
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.02
    done 2>/dev/null # bash would say how it died
    if ls "$work/mount/tensors" >/dev/null 2>&1; then
        measure "$work"/mount/tensors/*
    elif [ "$(n_killed)" -gt 0 ]; then
        rate=killed
    fi
    leave_mount
}

faster() {
    awk -v a="$1" -v b="$2" 'BEGIN { if (a + 0 > 0 && b + 0 > 0) printf "%.2fx", a / b; else printf "-" }'
}

is_faster() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(b + 0 > 0 && a + 0 > 1.02 * b) }'
}

find_device
mkdir "$work/model" "$work/mount"
echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, Linux $(uname -r); disk $device throttled to $mbps MB/s"
has_lock=$("$entrofs" --help | grep -c lock_image || true)
[ "$has_lock" -gt 0 ] || echo "this entrofs has no -o lock_image: left out"

# The throttle works, or nothing below means anything.
dd if=/dev/zero of="$work/probe" bs=1M count=64 conv=fsync status=none
make_groups $((256 << 20))
start=$(date +%s%N)
(within dd if="$work/probe" of=/dev/null bs=1M iflag=direct status=none)
speed=$((64 * 1048576 * 1000 / ($(date +%s%N) - start)))
remove_groups
rm "$work/probe"
echo "64 MiB in the cgroup: $speed MB/s"
[ "$speed" -lt $((mbps * 3 / 2)) ] || { echo "the disk is not throttled here" >&2; exit 1; }

for bits in $all_bits; do
    image=$work/u$bits.entrofs
    "$build/tests/bench/make_model" "$work/model/model.safetensors" "$(((mib * 8 / bits + 15) / 16))" 16384 # of 16 Mi weights
    "$mkentrofs" --quiet --bits "$bits" "$work/model" "$image" 2>/dev/null
    "$build/fs/entrofsck" --quiet --extract "$work/plain" "$image"
    rm -rf "$work/plain/npy" "$work/plain"/*.safetensors
    sync -f "$work"
    raw=("$work"/plain/tensors/*)
    raw_bytes=$(cat "${raw[@]}" | wc -c) image_bytes=$(stat -c %s "$image")
    awk -v b="$bits" -v r="$raw_bytes" -v i="$image_bytes" 'BEGIN { printf "\nu%d: raw %.0f MiB, image %.0f MiB (%.2f of raw)\n", b, r / 1048576, i / 1048576, i / r }'
    printf '%6s %6s | %11s %8s | %11s %8s %8s | %11s %8s %8s\n' limit MiB 'raw: a min' 'MB a pass' 'mount' 'MB a pass' faster 'lock_image' 'MB a pass' faster
    expected_sum='' mount_wins='' lock_wins=''
    for limit in $limits; do
        limit_bytes=$(awk -v l="$limit" -v r="$raw_bytes" 'BEGIN { printf "%d", l * r }')
        make_groups "$limit_bytes"
        forget "${raw[@]}"
        measure "${raw[@]}"
        raw_rate=$rate raw_mb=$disk_mb
        forget "${raw[@]}"
        measure_mount "$options"
        mount_rate=$rate mount_mb=$disk_mb
        rate=- disk_mb=-
        [ "$has_lock" -eq 0 ] || measure_mount "$options,lock_image"
        remove_groups
        is_faster "$mount_rate" "$raw_rate" && mount_wins="$mount_wins $limit"
        is_faster "$rate" "$raw_rate" && lock_wins="$lock_wins $limit"
        printf '%6s %6d | %11s %8s | %11s %8s %8s | %11s %8s %8s\n' "$limit" $((limit_bytes >> 20)) "$raw_rate" "$raw_mb" "$mount_rate" "$mount_mb" "$(faster "$mount_rate" "$raw_rate")" \
            "$rate" "$disk_mb" "$(faster "$rate" "$raw_rate")"
    done
    echo "faster than the raw files at the limits:${mount_wins:- none}; with lock_image:${lock_wins:- none}"
    rm -rf "$work/plain" "$image"
done
