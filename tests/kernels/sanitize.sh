#!/bin/sh
# Build with the address and undefined-behaviour sanitizers into a temporary folder and run the kernel tests there.
# Usage: tests/kernels/sanitize.sh [python [pytest options]]     (a build folder to keep: GOSSAMER_SANITIZE_BUILD)
set -eu
python=${1:-python}
[ $# -eq 0 ] || shift
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build=${GOSSAMER_SANITIZE_BUILD:-$work/build}

cmake=$(command -v cmake || "$python" -c 'import cmake, os; print(os.path.join(cmake.CMAKE_BIN_DIR, "cmake"))')
"$cmake" -S "$root" -B "$build" -DGOSSAMER_SANITIZE=ON \
    -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" > "$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
"$cmake" --build "$build" --parallel 2

# Nothing that is compiled for one instruction set may be shared with another: every function that the objects of
# a path offer to the linker as one of several copies must carry the path in its name.
for isa in portable avx2 avx512 avx512bf16 neon neon_dot; do
    leaks=$(find "$build" -name "$isa.cpp.o" -exec nm --defined-only {} + | awk '$2 ~ /^[WVu]$/ {print $3}' | grep -v "on_$isa" |
        grep -v '^DW\.ref\.' | sort -u | c++filt || true)
    if [ -n "$leaks" ]; then
        echo "compiled for $isa, but shared by all paths:"; echo "$leaks"; exit 1
    fi
done

mkdir -p "$work/src"
cp -r "$root/src/gossamer" "$work/src/"
rm -f "$work/src/gossamer/_kernels/"_native*.so
cp "$build"/_native*.so "$work/src/gossamer/_kernels/"
cd "$root"
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
PYTHONPATH="$work/src" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=2 \
    "$python" -m pytest -q -p no:cacheprovider -p no:faulthandler tests/kernels "--timeout=1200" "$@"
