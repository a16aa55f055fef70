"""The PostgreSQL of the tests."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVE = """
import pathlib, sys
from tests.support.postgresql import running
with running(pathlib.Path(sys.argv[1])) as url:
    print(url)
"""


def test_a_server_leaves_nothing_in_the_common_temporary_folder() -> None:
    """It would belong to one user of the machine, and stop the others."""
    with tempfile.TemporaryDirectory(prefix="kinto-attachment-postgresql-") as folder:
        data, common = Path(folder) / "data", Path(folder) / "common"
        common.mkdir()

        done = subprocess.run(
            [sys.executable, "-c", SERVE, str(data)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(common)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("postgresql://")
        assert list(common.iterdir()) == []
