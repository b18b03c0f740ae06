"""Compile telemetry/_hotpath.pyx: `python scripts/build_extension.py [FOLDER]`, beside its source by default.

Needs a C compiler and the headers of this Python. Built in a copy, so that nothing but the extension is left behind; put in its
place in one piece, because processes may be running the one that is there.
"""

import os
import shutil
import sys
import sysconfig
import tempfile
from contextlib import chdir
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PACKAGE = ROOT / "telemetry"
NAME = "_hotpath"


class NoCompiler(Exception):
    """There is nothing to compile with; the message says what is missing."""


def copy_sources(folder: Path) -> Path:
    """Copy what is compiled into a new folder, and note what it was made from; returns the path of the copy."""
    from telemetry.compiled import sources_digest  # noqa: PLC0415 - beside this script, see above

    folder.mkdir()
    for path in (PACKAGE / f"{NAME}.pyx", *PACKAGE.glob("*.pxi")):
        shutil.copy(path, folder)
    source = folder / f"{NAME}.pyx"
    with source.open("a") as file:
        file.write(f'\n\nSOURCES = "{sources_digest(PACKAGE)}"\n')
    return source


def require_compiler() -> None:
    """Raise `NoCompiler` unless there are a C compiler and Python's headers."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise NoCompiler(f"there is no C compiler ({compiler}): apt-get install gcc libc6-dev")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise NoCompiler("there are no headers of this Python: apt-get install python3-dev")


def build(folder: Path) -> Path:
    """Compile into `folder`; returns the extension's path. Raises `NoCompiler`."""
    require_compiler()
    folder.mkdir(parents=True, exist_ok=True)
    # From there: the names of sources get into tracebacks, and a folder's that changes would change the extension.
    with tempfile.TemporaryDirectory() as name, chdir(name):
        source = copy_sources(Path(PACKAGE.name))
        modules = cythonize([Extension(f"telemetry.{NAME}", [str(source)], extra_compile_args=["-g0"])], quiet=True)
        command = build_ext(Distribution({"ext_modules": modules}))
        command.build_lib, command.build_temp = f"{name}/lib", f"{name}/temp"
        command.ensure_finalized()
        command.run()
        built = Path(command.get_ext_fullpath(f"telemetry.{NAME}"))
        fresh = Path(shutil.copy(built, folder / f"{built.name}.new"))
        return fresh.replace(folder / built.name)


if __name__ == "__main__":
    try:
        print(build(Path(sys.argv[1]).resolve() if sys.argv[1:] else PACKAGE))
    except NoCompiler as error:
        sys.exit(f"NOT COMPILED: {error}")
