#!/bin/sh
# Removes from a site-packages folder what training on a CPU does not need, and compiles what is left: of 1.2 GB stay
# 0.65 (PyTorch 2.13, with compiled files), of which PyTorch's own libraries are 0.35.
set -eu
cd "$1"

# PyTorch: tests, C++ headers and build files, the symbols of its libraries (a fifth of them).
rm -rf torch/test torch/include torch/share torch/utils/benchmark
find torch/bin -type f ! -name torch_shm_manager -delete
find torch -name '*_test.so' -delete
find torch/lib -name '*.so*' -exec strip --strip-unneeded {} +
find . -name '*.a' -delete

# Of scikit-learn only the digits are used, as a file: what reads it does not import the package.
find sklearn -type f ! -name digits.csv.gz -delete
find sklearn -type d -empty -delete
echo 'raise ImportError("this image has nothing of scikit-learn but its digits: see the head of docker/Dockerfile")' \
    > sklearn/__init__.py
rm -rf scikit_learn* scipy* joblib* threadpoolctl* narwhals*

# The tests that other packages bring along.
find . -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +

if ls -d nvidia* >/dev/null 2>&1; then
    echo 'note: this PyTorch brings CUDA, gigabytes that nothing here uses: see the head of docker/Dockerfile' >&2
fi

# No container can write here later, and none is to spend its start on compiling. torch/_vendor has a file for another
# Python, which does not compile: nothing imports it.
../../../bin/python -m compileall -q -j 0 . || true
