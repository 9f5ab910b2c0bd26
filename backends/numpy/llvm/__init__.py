"""Kernels in machine code, by LLVM: typed vector values, vector mathematics, compiled through llvmlite."""
