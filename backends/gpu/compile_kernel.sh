#!/bin/sh
# compile_kernel.sh OBJECT COMPILER ARGUMENT...
# Compiles, and keeps beside the object what tools/kernels/report.py reads: what the compiler says of each kernel's
# registers in OBJECT.resources, and nvcc's machine code of each architecture in the folder OBJECT.parts.
object=$1
shift
rm -rf "$object.parts"
mkdir -p "$object.parts"
"$@" >"$object.resources" 2>&1
status=$?
if [ $status -ne 0 ] || grep -q 'warning' "$object.resources"; then
    grep -v 'ptxas info\|bytes stack frame' "$object.resources" >&2
fi
find "$object.parts" -type f ! -name '*.cubin' -delete
exit $status
