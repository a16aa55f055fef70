"""The quickest of the tests of the tests; ``python -m tests.faults.old_faults`` runs all."""

import subprocess
import sys

import pytest

from tests.faults import old_faults

QUICK = ["event-partial", "event-order", "names-like-ids", "last-one-decides"]
QUICK += ["plugins-believed", "equal-is-same", "not-put-back", "changed-in-place"]
"""What the model test notices on memory, within a second or two each."""


def test_every_switch_still_fits_the_package() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.old_faults", "--fits"]
    done = subprocess.run(
        command, cwd=old_faults.ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", QUICK)
def test_an_old_fault_that_is_put_back_is_noticed(name: str) -> None:
    assert old_faults.noticed(old_faults.FAULTS[name].noticed_by, name)


FILE_CHANGES = "kinto_attachment.attachments.file_changes:FileChanges"


def test_a_switch_that_fits_nothing_any_more_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(old_faults.NotThere, match="There is no"):
        old_faults.put(f"{FILE_CHANGES}.gone", lambda self: None)
    with pytest.raises(old_faults.NotThere, match="is called with"):
        old_faults.put(f"{FILE_CHANGES}._outcome", lambda self, more: None)
