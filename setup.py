"""Compiles what all programs share when graphc is built. All else about the package is in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithMachineCode(build_py):
    """Builds the Python modules and, by them, the machine code that lies beside them."""

    def run(self) -> None:
        super().run()
        modules = Path(__file__).parent if self.editable_mode else Path(self.build_lib)
        code = (
            f"import sys; sys.path.insert(0, {str(modules.resolve())!r})\n"
            "from graphc.backends.numpy.llvm import prebuilt; prebuilt.main()"
        )
        # -B: what this Python makes of the modules is no part of a wheel
        done = subprocess.run([sys.executable, "-B", "-c", code])
        if done.returncode:
            self.warn("graphc comes without machine code: functions that kernels call are compiled when first used")


setup(cmdclass={"build_py": BuildWithMachineCode})
