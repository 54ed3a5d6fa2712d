"""The compiled loops, with options that depend on the compiler; all else is in pyproject.toml."""

import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# One wheel serves all versions of Python. Builds of Python without the interpreter's lock have no
# limited API yet, so they get wheels of their own.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

# For GCC and Clang. Associative math lets them vectorise sums; NaN and infinity must stay visible:
# never -ffast-math or -ffinite-math-only. MSVC has no options between precise and fast, so it
# takes its default, which is precise.
STRICT = ["-O3", "-fno-math-errno", "-fno-trapping-math"]
ASSOCIATIVE = [*STRICT, "-fno-signed-zeros", "-fassociative-math"]
OPTIONS = {
    "_memoryviews": ["-Os"],
    "coordinate_descent": ASSOCIATIVE,
    "csc": [],
    "csr": ASSOCIATIVE,
    "dense": ASSOCIATIVE,
    "kkt": STRICT,
    "losses": ASSOCIATIVE,
    "products": ASSOCIATIVE,
}


# What Cython's views of arrays run on. It writes this module, which all others use; otherwise each
# would hold a copy. It runs once a call, not once a row.
SHARED = "_memoryviews"


class BuildKernels(build_ext):
    """Builds the extensions with the options that their compiler knows."""

    def initialize_options(self):
        """Have Cython share what all modules need, and declare that they need no lock."""
        super().initialize_options()
        self.shared_utility_qualified_name = f"sklearn_sgdlin.kernels.{SHARED}"
        # Loops write to arrays of their caller only; ThreadSanitizer saw no race in threads.
        self.cython_directives = {"freethreading_compatible": True}

    def run(self):
        """Build all; in place, they replace builds that Python would prefer or that are older."""
        self.for_development = self.inplace  # setuptools resets it while it compiles
        if self.for_development:
            for built in Path("sklearn_sgdlin/kernels").iterdir():
                if built.suffix in (".so", ".pyd"):
                    built.unlink()
        super().run()

    def build_extension(self, extension):
        """Compile one extension."""
        if self.compiler.compiler_type != "msvc":
            extension.extra_compile_args = OPTIONS[extension.name.rpartition(".")[2]]
        if sys.platform == "linux" and not self.for_development:
            extension.extra_link_args = ["-s"]  # without the symbols that debuggers read
        super().build_extension(extension)


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Extension(
            f"sklearn_sgdlin.kernels.{name}",
            [f"sklearn_sgdlin/kernels/{name}.{'c' if name == SHARED else 'pyx'}"],
            depends=["sklearn_sgdlin/kernels/common.pxd"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else [],
            py_limited_api=LIMITED_API,
        )
        for name in OPTIONS
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
