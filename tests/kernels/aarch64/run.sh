#!/bin/sh
# Cross-compile the kernels for aarch64 and compare their NEON paths with the portable one under qemu, on a CPU with the
# integer dot product and on one without.
# Usage: run.sh [build folder [optimisation]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build=${1:-$work/build}
cmake=$(command -v cmake || python3 -c 'import cmake, os; print(os.path.join(cmake.CMAKE_BIN_DIR, "cmake"))')

"$cmake" -S "$here" -B "$build" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER="${CXX_AARCH64:-aarch64-linux-gnu-g++}" -DCMAKE_CXX_FLAGS="${2:--O1}" \
    $(command -v ccache > /dev/null && echo -DCMAKE_CXX_COMPILER_LAUNCHER=ccache) > "$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
"$cmake" --build "$build" --parallel "${JOBS:-2}" > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

# No function of a path may be shared with another: its copy in the program could be the one with dot products.
for isa in portable neon neon_dot; do
    leaks=$(find "$build" -name "$isa.cpp.o" -exec aarch64-linux-gnu-nm --defined-only {} + | awk '$2 ~ /^[WVu]$/ {print $3}' |
        grep -v "on_$isa" | grep -v '^DW\.ref\.' | sort -u || true)
    [ -z "$leaks" ] || { echo "compiled for $isa, but shared by all paths:"; echo "$leaks"; exit 1; }
done

qemu="${QEMU_AARCH64:-qemu-aarch64} -L ${SYSROOT_AARCH64:-/usr/aarch64-linux-gnu}"
for run in "max neon-dot" "cortex-a53 neon"; do
    set -- $run
    echo "-- $1"
    OMP_NUM_THREADS=7 $qemu -cpu "$1" "$build/check" "$2"
done
