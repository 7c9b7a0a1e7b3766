"""What pyproject.toml cannot say: a wheel records the commit that it was built from."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))  # of a build in isolation

from common.provenance import BUILT_FROM, provenance


class WithCommit(build_py):
    """Puts the commit beside the code, where `common.provenance` looks for it: an installed wheel has no Git."""

    def run(self) -> None:
        """Copy the code, and write the record."""
        super().run()
        commit = str(provenance()["commit"])
        (Path(self.build_lib) / BUILT_FROM.parent.name / BUILT_FROM.name).write_text(commit + "\n")


setup(cmdclass={"build_py": WithCommit})
