"""Compiles the functions that kernels call when graphc is built. All else about the package is in pyproject.toml."""

import os
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
        paths = [str(modules.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])]
        # no compiled modules are left beside those that go into a wheel
        command = [sys.executable, "-B", "-m", "graphc.backends.numpy.llvm.prebuilt"]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
        if done.returncode:
            self.warn("no machine code comes with graphc: functions that kernels call are compiled when first used")


setup(cmdclass={"build_py": BuildWithMachineCode})
