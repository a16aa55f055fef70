"""Shortens a run that fails: fewer steps, fewer members of batches, fewer arguments."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.operations import Step

Steps = list[Step]


def shrink(steps: Steps, fails: Callable[[Steps], bool], seconds: float) -> Steps:
    """The shortest that was found in this time and still fails.

    :param fails: whether a run fails, and by the same law.
    """
    end = time.monotonic() + seconds
    better = True
    while better:
        better = False
        for candidate in _simpler(steps):
            if time.monotonic() > end:
                return steps
            if fails(candidate):
                steps, better = candidate, True
                break
    return steps


def _simpler(steps: Steps) -> Iterator[Steps]:
    """Each way to take something away, the largest pieces first."""
    size = len(steps) // 2
    while size:
        for start in range(len(steps) - size, -1, -size):
            yield steps[:start] + steps[start + size :]
        size //= 2
    for place, step in enumerate(steps):
        for number, argument in enumerate(step.args):
            for other in _simpler_argument(argument):
                args = (*step.args[:number], other, *step.args[number + 1 :])
                yield [*steps[:place], Step(step.name, args), *steps[place + 1 :]]


def _simpler_argument(argument: Any) -> Iterator[Any]:
    if isinstance(argument, list):
        for number, member in enumerate(argument):
            if len(argument) > 1:
                yield argument[:number] + argument[number + 1 :]
            for other in _simpler_argument(member):
                yield [*argument[:number], other, *argument[number + 1 :]]
    for name, default in getattr(argument, "_field_defaults", {}).items():
        if getattr(argument, name) != default:
            yield argument._replace(**{name: default})
