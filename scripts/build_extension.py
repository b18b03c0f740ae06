"""Compile telemetry/_hotpath.pyx: `python scripts/build_extension.py [FOLDER]`, beside its source by default.

Needs a C compiler and the headers of this Python. Built in a copy, so that nothing but the extension is left behind.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "telemetry" / "_hotpath.pyx"
NAME = "telemetry._hotpath"


class NoCompiler(Exception):
    """The extension cannot be compiled here; the message says what is missing."""


def build(folder: Path) -> Path:
    """Compile into `folder`; returns the extension's path. Raises `NoCompiler`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        source = Path(shutil.copy(SOURCE, name))
        modules = cythonize([Extension(NAME, [str(source)], extra_compile_args=["-g0"])], quiet=True)
        command = build_ext(Distribution({"ext_modules": modules}))
        command.build_lib, command.build_temp = f"{name}/lib", f"{name}/temp"
        command.ensure_finalized()
        try:
            command.run()
        except CompileError as error:
            raise NoCompiler(
                f"{error}: a C compiler and Python's headers are needed (apt-get install gcc python3-dev)"
            ) from None
        return Path(shutil.copy(command.get_ext_fullpath(NAME), folder))


if __name__ == "__main__":
    try:
        print(build(Path(sys.argv[1]).resolve() if sys.argv[1:] else SOURCE.parent))
    except NoCompiler as error:
        sys.exit(str(error))
