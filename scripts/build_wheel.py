"""Build the wheel goshop-telemetry from the folder telemetry/: `python scripts/build_wheel.py [FOLDER] [--compiled]`.

Into `dist` by default. It is pure Python and for every platform; `--compiled` adds the compiled request path, for the platform
and the Python that it is built with. That one needs Cython, a C compiler and Python's headers.

No network: setuptools is in the development lock. Built in a copy with the package under its other name: setuptools would run
`telemetry/setup.py` as its own script, and leaves things beside what it builds.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from build_extension import NoCompiler, require_compiler
from setuptools import build_meta

ROOT = Path(__file__).resolve().parents[1]
# What describes the distribution, and is no part of the package.
ABOUT = ("pyproject.toml", "README.md")


# setuptools has no other way to be told of an extension in Cython.
COMPILED = """\
from Cython.Build import cythonize
from setuptools import Extension, setup

hotpath = Extension("goshop_telemetry._hotpath", ["goshop_telemetry/_hotpath.pyx"], extra_compile_args=["-g0"])
setup(ext_modules=cythonize([hotpath]))
"""


def build(folder: Path, *, compiled: bool = False) -> Path:
    """Build the wheel into `folder`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    # The same sources make the same bytes: 1980-01-01, the first day that a zip file knows.
    os.environ.setdefault("SOURCE_DATE_EPOCH", "315532800")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        package = Path(name, "goshop_telemetry")
        shutil.copytree(ROOT / "telemetry", package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        for about in ABOUT:
            shutil.move(package / about, name)
        shutil.copy(ROOT / "LICENSE", name)
        if compiled:
            require_compiler()
            Path(name, "setup.py").write_text(COMPILED)
        os.chdir(name)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return folder / str(build_meta.build_wheel(str(folder)))
        finally:
            os.chdir(before)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--compiled"]
    try:
        print(build(Path(arguments[0] if arguments else "dist").resolve(), compiled="--compiled" in sys.argv))
    except NoCompiler as error:
        sys.exit(f"NOT COMPILED: {error}")
