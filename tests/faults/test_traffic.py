"""Traffic on two servers, with every command beside it, for half a minute."""

from pathlib import Path

from tests.faults.traffic import Traffic, table

SEED, SECONDS = 20261126, 30


def test_traffic_with_every_command_beside_it_keeps_the_laws(
    postgresql: str, tmp_path: Path
) -> None:
    traffic = Traffic(postgresql, tmp_path, SEED)
    try:
        said = traffic.run(SECONDS)
    finally:
        traffic.close()

    print(table(traffic.counted))
    assert said == []
    done = {name for name, answer in traffic.counted if answer in ("200", "201", "204", "exit 0")}
    assert {"upload", "PUT copy", "batch move", "relocate", "gc", "copy", "migrate"} <= done
