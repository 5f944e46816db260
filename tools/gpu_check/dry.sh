#!/usr/bin/env bash
# gpu_check.sh with the emulation of tests in the card's place: dry.sh BUILD_DIR OUT_DIR [OPTIONS of gpu_check.sh].
# The build folder is used in place of an unpacked bundle.
set -euo pipefail
build=$(realpath -e -- "$1") out=$2
shift 2
here=$(realpath -e -- "$(dirname "${BASH_SOURCE[0]}")")
bundle=$(mktemp -d "${TMPDIR:-/tmp}/gpu-dry-XXXXXX")
trap 'rm -rf "$bundle"' EXIT
ln -s "$build"/{bin,lib,share} "$bundle"
git -C "$here" describe --always --dirty >"$bundle/commit" 2>/dev/null || echo unknown >"$bundle/commit"
[[ -f $build/kernels.json ]] && ln -s "$build/kernels.json" "$bundle"
"$here/../gpu_check.sh" --backend emulated32 "$@" "$bundle" "$out"
