"""The CuPy backend: the same plan on an NVIDIA GPU, with kernels generated as CUDA C++."""
