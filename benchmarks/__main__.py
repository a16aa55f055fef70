"""``make bench``: run the measures, print the table."""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks import downloads, far_s3, resumable, slow, small, stalled, stored, uploads
from benchmarks.table import Row, markdown, rst

MEASURES = {
    "uploads": uploads.measure,
    "hostile": uploads.hostile,
    "downloads": downloads.measure,
    "small": small.small,
    "statements": small.statements,
    "conflicts": small.conflicts,
    "flat": stored.flat,
    "bulk": stored.bulk,
    "gc": stored.collector,
    "far": far_s3.measure,
    "resumable": resumable.resumable,
    "slow": slow.slow,
    "stalled": stalled.stalled,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files, few rounds")
    parser.add_argument("only", nargs="*", help=f"some of: {', '.join(MEASURES)}")
    parser.add_argument("--rst", action="store_true", help="print what docs/figures.rst shows")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - set(MEASURES)
    if unknown:
        parser.error(f"there is no measure {', '.join(unknown)}: take {', '.join(MEASURES)}")
    rows: list[Row] = []
    failed = False
    for name in arguments.only or MEASURES:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows += MEASURES[name](Path(folder) / name, arguments.quick)
            except Exception:  # The other measures are worth a table.
                traceback.print_exc()
                rows.append(Row(name, "-", "failed", "-", False))
                failed = True
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(rst(rows) if arguments.rst else markdown(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
