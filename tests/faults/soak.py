"""``make soak``: all random tests of agreement, one after another, for long."""

import argparse
import os
import subprocess
import sys
import time

TESTS = ("traffic", "model", "pairs", "campaign", "killed")


def command(name: str, minutes: float, seed: int) -> list[str]:
    """What one test is called with. Pairs are exhaustive: their share follows from the time."""
    if name == "killed":  # Exhaustive too: it takes twenty minutes.
        tests = ["tests/faults/test_killed.py", "tests/faults/test_killed_uploads.py"]
        return [sys.executable, "-m", "pytest", "-q", *tests]
    own = {
        "traffic": ["--minutes", str(minutes)],
        "model": ["--minutes", str(minutes)],
        "pairs": ["--every", str(max(1, round(120 / minutes)))],
        "campaign": ["--operations", str(round(1500 * minutes))],
    }[name]
    return [sys.executable, "-m", f"tests.faults.{name}", "--seed", str(seed), *own]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="of each test, about")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("only", nargs="*", help=f"some of: {', '.join(TESTS)}")
    arguments = parser.parse_args()
    failed = []
    environment = {**os.environ, "KILL_AT_EVERY_LINE": "yes"}
    for name in arguments.only or TESTS:
        words = command(name, arguments.minutes, arguments.seed)
        print(" ".join(words[1:]), flush=True)
        if subprocess.run(words, check=False, env=environment).returncode:
            failed.append(name)
    print(f"seed {arguments.seed}: " + (f"failed: {', '.join(failed)}" if failed else "all agree"))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
