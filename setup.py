"""The parts of the build that pyproject.toml cannot say: the cffi extension, the abi3 tag, and the
built-in plugins inside the wheel.

In place, for work on the C: ``python setup.py -q build_ext --inplace``.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What `blitz demo` needs is looked up in blitz/_demo (installed), else in plugins/ (a checkout).
DEMO = Path("blitz", "_demo")


class BuildPyWithPlugins(build_py):
    """Copies plugins/*.wasm and their manifests into the package of a wheel.

    They are committed once, under plugins/. An editable install reads them there.
    """

    def plugin_files(self) -> list[Path]:
        if self.editable_mode:
            return []
        return sorted(path for kind in ("*.wasm", "*.toml") for path in (ROOT / "plugins").glob(kind))

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib, DEMO)
        for path in self.plugin_files():
            self.mkpath(str(target))
            self.copy_file(str(path), str(target / path.name))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copied = [str(Path(self.build_lib, DEMO, path.name)) for path in self.plugin_files()]
        return [*super().get_outputs(include_bytecode), *copied]


setup(
    cffi_modules=["native/build.py:ffi"],
    cmdclass={"build_py": BuildPyWithPlugins},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
