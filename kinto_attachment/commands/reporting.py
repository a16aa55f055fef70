"""What the commands that look at files tell: exit codes, a bar on terminals, lines elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator

CLEAN, FINDINGS, ERROR = 0, 1, 2
"""Exit codes: nothing is wrong, or all is done; something was found; it could not be done."""


@contextlib.contextmanager
def progress(unit: str) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, nothing elsewhere; gives the function that moves it."""
    from tqdm import tqdm

    with tqdm(unit=unit, disable=None, leave=False) as bar:
        yield bar.update


def complain(sentence: str) -> None:
    """Tell on stderr what could not be done."""
    print(sentence, file=sys.stderr)
