# Which libraries, drivers and devices are used. Part of gpu_check.sh.

drivers=/usr/local/nvidia  # where some clusters mount NVIDIA's driver, unknown to the system's loaders

system_library() {  # its path, empty when there is none
    local folder
    for folder in ${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH//:/ }} "$drivers/lib64"; do
        [[ -e $folder/$1 ]] && { echo "$folder/$1"; return; }
    done
    { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | awk -v name="$1" '$1 == name && /x86-64/ {print $NF; exit}'
}

# The system's own libraries where they suffice, as drivers were made for them; else the bundle's.
choose_libraries() {
    local file name found
    for file in "$lfm"/fallback/*; do
        [[ -f $file ]] || continue
        name=${file##*/} found=$(system_library "${file##*/}")
        [[ $name == libstdc++* && -n $found ]] && ! grep -qa GLIBCXX_3.4.30 "$found" && found=""
        [[ -n $found ]] || { ln -s "$file" "$work/chosen/$name"; echo "carried: $name"; }
    done
    export LD_LIBRARY_PATH=$lfm/lib:$work/chosen${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    [[ -d $drivers/lib64 ]] && LD_LIBRARY_PATH+=:$drivers/lib64
}

# The loader finds drivers by their manifests in known folders. This finds those elsewhere, and writes NVIDIA's where it
# is missing.
choose_drivers() {
    [[ -n ${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-} ]] && return
    local files=() file
    for file in "$drivers"/share/vulkan/icd.d/*.json "$drivers"/vulkan/icd.d/*.json \
        {/etc,/usr/share,/usr/local/etc,/usr/local/share}/vulkan/icd.d/*.json; do
        [[ -f $file ]] && files+=("$file")
    done
    [[ ${files[*]-} == *nvidia* ]] || files=($(nvidia_manifest GLX) ${files[@]+"${files[@]}"})
    # Drivers that compute on the CPU are tried only where there is no other.
    local real=()
    for file in ${files[@]+"${files[@]}"}; do [[ $file == *lvp* || $file == *swrast* ]] || real+=("$file"); done
    # NVIDIA's GLX library fails where there is no display; its EGL library has the same entry point.
    try_drivers ${real[@]+"${real[@]}"} || try_drivers $(nvidia_manifest EGL) || try_drivers ${files[@]+"${files[@]}"}
}
nvidia_manifest() {  # GLX or EGL: a manifest for that library, if it is there
    local library
    library=$(system_library "lib$1_nvidia.so.0")
    [[ -n $library ]] || return
    echo "{\"file_format_version\": \"1.0.0\", \"ICD\": {\"library_path\": \"$library\", \"api_version\": \"1.3.0\"}}" \
        >"$work/nvidia_$1.json"
    echo "$work/nvidia_$1.json"
}
try_drivers() {
    (($# > 0)) || return 1
    VK_DRIVER_FILES=$(IFS=:; echo "$*")
    export VK_DRIVER_FILES VK_ICD_FILENAMES=$VK_DRIVER_FILES
    rm -f "$work/devices/vulkan"
    devices_of vulkan | grep -q '^vulkan [0-9]'
}

# What lfm-probe says of a backend's devices; it is run once per backend.
devices_of() {
    [[ -f $work/devices/$1 ]] || quickly 15 "$lfm/bin/lfm-probe" --list --backend "$1" >"$work/devices/$1"
    cat "$work/devices/$1"
}
usable() { grep "^$1 [0-9]" | grep -v 'cannot be used'; }

# The first backend that has a usable device, whether or not its tests pass later.
choose_backend() {
    local name found
    [[ -z $backend ]] || return
    for name in cuda hip; do
        found=$(devices_of "$name")
        if usable "$name" <<<"$found" >/dev/null; then backend=$name; return; fi
        warn "measured is vulkan instead of $name: $(head -1 <<<"$found")"
    done
    backend=vulkan
}

# Of the backend: the first that is no emulation, else the first.
choose_device() {
    local found
    [[ -z $device ]] || return
    found=$(devices_of "$backend" | usable "$backend")
    device=$({ grep -v 'emulated$' <<<"$found" || echo "$found"; } | sed -n '1s/^[a-z0-9]* \([0-9]*\):.*/\1/p')
    device=${device:-0}
}

# Prints the MiB that are free: the most that the system reports within 3 s, as some machines get memory only as they
# take it.
free_memory() {  # MIB: when so many are free, it does not wait for more
    local most=0 now i
    for i in 1 2 3 4 5 6; do
        now=$(awk '/^MemAvailable/ {print int($2 / 1024)}' "${LFM_GPU_CHECK_MEMINFO:-/proc/meminfo}")
        ((now > most)) && most=$now
        ((most >= $1)) && break
        pause 0.5
    done
    echo "$most"
}

describe_system() {
    local name
    echo "system: $(uname -srm), $(nproc) cores, $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)"
    echo "processor: $(awk -F': ' '/^model name/ {print $2; exit}' /proc/cpuinfo)"
    choose_libraries
    choose_drivers
    choose_backend
    choose_device
    echo "measured: $backend $device"
    for name in cuda hip vulkan $backend; do devices_of "$name"; done | awk '!seen[$0]++'
    echo "Vulkan drivers: ${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-as the loader finds them}}"
    command -v nvidia-smi >/dev/null && quickly 15 nvidia-smi --format=csv,noheader \
        --query-gpu=name,driver_version,memory.total,memory.used,clocks.sm,clocks.max.sm,pcie.link.gen.current
    true
}
