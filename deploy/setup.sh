#!/usr/bin/env bash
# Fill a private environment from a hash-pinned lock. `make` calls it; every path is relative to the repository.
#
#   deploy/setup.sh UV VENV LOCK          everything in LOCK; llama-cpp-python first, by itself, with its progress shown
#   deploy/setup.sh UV VENV LOCK rebuild  llama-cpp-python alone, compiled anew with the CMAKE_ARGS of the environment
set -euo pipefail

uv=$1 venv=$2 lock=$3 mode=${4:-install}
python=$venv/bin/python
log=.cache/llama-cpp-python.log
mkdir -p .cache

native=$(awk '/^[^ #]/ { wanted = /^llama-cpp-python==/ } wanted && !/^ *#/' "$lock" | sed -e '$ s/ *\\$//')
version=$(printf '%s\n' "$native" | sed -n '1 s/^llama-cpp-python==\([^ ;]*\).*/\1/p')
[ -n "$version" ] || { echo "$lock does not name llama-cpp-python" >&2; exit 1; }

has_native() {
    "$python" - "$version" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    sys.exit(version("llama-cpp-python") != sys.argv[1])
except PackageNotFoundError:
    sys.exit(1)
PY
}

compile_native() {
    printf '%s\n' "$native" > .cache/llama-cpp-python.txt
    echo "llama-cpp-python $version is compiled once for this machine: about five minutes on two cores. Log: $log"
    [ -z "${CMAKE_ARGS:-}" ] || echo "CMAKE_ARGS=$CMAKE_ARGS"
    # uv is silent about a build unless it is verbose; of that we show every tenth step of ninja's "[17/193]".
    if ! "$uv" pip install --verbose --python "$python" --no-deps --require-hashes "$@" \
            -r .cache/llama-cpp-python.txt 2>&1 | tee "$log" | awk '
        match($0, /\[[0-9]+\/[0-9]+\]/) {
            split(substr($0, RSTART + 1, RLENGTH - 2), step, "/")
            if (step[1] >= shown + 10 || step[1] == step[2]) {
                shown = step[1]; printf "  compiling: %d of %d\n", step[1], step[2]; fflush()
            }
        }'; then
        tail -n 40 "$log" | cut -c1-400 >&2
        echo "llama-cpp-python could not be compiled; the whole log is in $log. It needs a C++ compiler (g++ or clang)." >&2
        exit 1
    fi
}

if [ "$mode" = rebuild ]; then
    compile_native --no-cache --reinstall --no-binary llama-cpp-python
else
    has_native || compile_native
    "$uv" pip install --python "$python" --require-hashes -r "$lock"
fi
