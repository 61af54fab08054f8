"""The parts of the build that pyproject.toml cannot say: the cffi extension and the abi3 tag.

In place, for work on the C: ``python setup.py -q build_ext --inplace``.
"""

from setuptools import setup

setup(
    cffi_modules=["native/build.py:ffi"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
