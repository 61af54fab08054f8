"""The parts of the build that pyproject.toml cannot say: the cffi extension, the abi3 tag, and the
built-in plugins and SDKs inside the wheel.

In place, for work on the C: ``python setup.py -q build_ext --inplace``.
"""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
from blitz.sdk import INSTALLED, sdk_files  # noqa: E402  (a build has no package path)

# What `blitz demo` needs is looked up in blitz/_demo (installed), else in plugins/ (a checkout).
DEMO = Path("blitz", "_demo")


class BuildPyWithPlugins(build_py):
    """Copies plugins/*.wasm, their manifests and plugins/sdk into the package of a wheel.

    They are committed once, under plugins/. An editable install reads them there.
    """

    def plugin_files(self) -> dict[Path, Path]:
        """From where to where, relative to the package's root."""
        if self.editable_mode:
            return {}
        plugins = ROOT / "plugins"
        files = {path: DEMO / path.name for kind in ("*.wasm", "*.toml") for path in plugins.glob(kind)}
        files |= {
            plugins / "sdk" / file: Path("blitz", INSTALLED, file) for file in sdk_files(plugins / "sdk")
        }
        return dict(sorted(files.items()))

    def run(self) -> None:
        super().run()
        for path, place in self.plugin_files().items():
            target = Path(self.build_lib, place)
            self.mkpath(str(target.parent))
            self.copy_file(str(path), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copied = [str(Path(self.build_lib, place)) for place in self.plugin_files().values()]
        return [*super().get_outputs(include_bytecode), *copied]


setup(
    cffi_modules=["native/build.py:ffi"],
    cmdclass={"build_py": BuildPyWithPlugins},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
