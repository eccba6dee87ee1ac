"""Builds the kernel objects with bpf/Makefile, so that they ship inside the wheel.

Where there is no compiler for them, the package is built without: policies are tried and
judged, and agents asked, on any system with Python (`cilia policy test`, a pre-commit hook).
"""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildObjects(build_py):
    """Compiles bpf/*.bpf.c into src/cilia/datapath/objects before Python files are copied."""

    def run(self) -> None:
        missing = [tool for tool in ("make", self._clang()) if not shutil.which(tool)]
        if missing:
            tools = " and ".join(missing)
            self.warn(f"no {tools}: built without kernel objects, so this cannot run an agent")
        else:
            subprocess.run(["make", "-s", "-C", str(ROOT / "bpf")], check=True)
        super().run()

    @staticmethod
    def _clang() -> str:
        return os.environ.get("CLANG", "clang-19")


setup(cmdclass={"build_py": BuildObjects}, distclass=Distribution)
