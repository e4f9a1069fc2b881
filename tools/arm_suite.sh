#!/usr/bin/env bash
# The tests on Arm by an emulator: the module by a cross compiler, an arm64 Debian under build/arm, and the bits of
# NEON's kernels against those of this CPU's AVX2.
#
#     sudo tools/arm_suite.sh                              # all of them
#     sudo tools/arm_suite.sh tests/rows -k Focal
#
# On Debian or Ubuntu; needs root for chroot, and a Python with pybind11, cmake and ninja, and lossk installed (or on
# PYTHONPATH) with what its tests need: PYTHON=.venv/bin/python.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
root=$PWD/build/arm/root
release=bookworm
tests=("$@")
((${#tests[@]})) || tests=(tests/losses tests/rows tests/activations tests/functions tests/optimizers tests/linear)

for package in debootstrap qemu-user-static binfmt-support g++-aarch64-linux-gnu; do
    dpkg -s "$package" >/dev/null 2>&1 || apt-get install -y --no-install-recommends "$package"
done
# A container has the kernel's table of emulators, but may not have it mounted or filled.
formats=/proc/sys/fs/binfmt_misc
[[ -e $formats/register ]] || mount -t binfmt_misc none $formats
[[ -e $formats/qemu-aarch64 ]] || update-binfmts --enable qemu-aarch64
if [[ ! -e $root/complete ]]; then
    rm -rf "$root"
    debootstrap --arch=arm64 --variant=minbase --include=python3,libpython3-dev,libgomp1 $release "$root"
    touch "$root/complete"
fi

# What tests need, as wheels for Arm: pip runs here, at this CPU's speed.
version=$(basename "$root"/usr/include/python3.*)
version=${version#python}
site=$root/opt/site
if [[ ! -e $site/pytest ]]; then
    "$python" -m pip install -q --target "$site" --python-version "$version" --only-binary=:all: \
        --platform=manylinux_2_{17,27,28,34}_aarch64 --platform=manylinux2014_aarch64 \
        'numpy>=1.25' 'pytest>=8' 'pytest-xdist>=3.6' 'pytest-benchmark>=4' 'hypothesis>=6.100' 'ml_dtypes>=0.4' 'mpmath>=1.3' 'scikit-learn>=1.6'
fi

soabi=cpython-${version/./}-aarch64-linux-gnu
cmake -S . -B build/arm/module -G Ninja -DCMAKE_BUILD_TYPE=Release -DLOSSK_WERROR=ON \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
    -DCMAKE_CXX_FLAGS="-idirafter $root/usr/include" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" -DPYBIND11_USE_CROSSCOMPILING=ON \
    -DPython_EXECUTABLE="$(command -v "$python")" -DPython_INCLUDE_DIR="$root/usr/include/python$version" \
    -DPYTHON_MODULE_EXTENSION=".$soabi.so" -DPYTHON_IS_DEBUG=0
cmake --build build/arm/module
rm -rf "$site/lossk"
cp -r python/lossk "$site"
rm -f "$site"/lossk/_core*.so
cp "build/arm/module/_core.$soabi.so" "$site/lossk"

LOSSK_ISA=x86-64-v3 "$python" -m tests.bits write build/arm/calls.pickle
# Mounts end with their namespace.
mkdir -p "$root/lossk"
exec unshare --mount bash -euc '
    root=$1; shift
    for name in proc sys dev; do mount --rbind /$name "$root/$name"; done
    mount --bind . "$root/lossk"
    chroot "$root" /usr/bin/env -i PATH=/usr/bin PYTHONPATH=/opt/site PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 bash -euc "
        cd /lossk
        failed=0
        python3 -m tests.bits compare build/arm/calls.pickle || failed=1
        python3 -m pytest -q -n 2 -p no:cacheprovider \"\$@\" || failed=1
        exit \$failed" - "$@"
' - "$root" "${tests[@]}"
