"""Builds the kernel objects with bpf/Makefile, so that they ship inside the wheel."""

import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildObjects(build_py):
    """Compiles bpf/*.bpf.c into src/cilia/datapath/objects before Python files are copied."""

    def run(self) -> None:
        subprocess.run(["make", "-s", "-C", str(ROOT / "bpf")], check=True)
        super().run()


setup(cmdclass={"build_py": BuildObjects}, distclass=Distribution)
