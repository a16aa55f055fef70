"""A store that fails at any operation: the old state or the new one, and nothing else."""

import pytest

from tests.faults.harness import STORAGE_FAULTS, FaultyStorage, assert_nothing_dangles, collect
from tests.support.parts import ATTACHMENT, RECORD, Client, every_backend


@pytest.mark.parametrize(("fault", "error"), STORAGE_FAULTS)
@pytest.mark.parametrize("operation", ["upload", "replace", "remove", "delete the record"])
@every_backend()
def test_after_a_failure_of_the_store_record_link_and_file_agree(
    owner: Client,
    faulty: FaultyStorage,
    operation: str,
    fault: str,
    error: type[Exception],
) -> None:
    if operation != "upload":
        owner.upload(content=b"old content")
    before = owner.get(RECORD, "*").json
    faulty.fault, faulty.error = fault, error

    if operation in ("upload", "replace"):
        answer = owner.upload(content=b"new content", status="*")
    else:
        answer = owner.delete(ATTACHMENT if operation == "remove" else RECORD, "*")

    faulty.fault = None
    assert_nothing_dangles(owner.server)
    if answer.status_code >= 500:
        assert answer.status_code in (503, 507)
        assert owner.get(RECORD, "*").json == before
    if fault.startswith("delete"):
        collect(owner.server)
    owner.server.assert_agreement()
