"""Kinto's own environment for commands that look at records and files.

Whatever is away or wrong ends a command in one way: one sentence on stderr, and exit code 2.
"""

import contextlib
import logging
import os
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from kinto_attachment.commands.reporting import CannotLook, complain, leave_stdout

if TYPE_CHECKING:
    from kinto.core.types import Registry

AGAIN = "Run it again."


@contextlib.contextmanager
def kinto(ini: str, advice: str = AGAIN) -> Iterator["Registry"]:
    """The registry of a Kinto application made from an ini; it serves nothing.

    :param advice: what to do where the store or the database fails in the middle.
    :raises CannotLook: with a sentence on stderr, for an ini that can't be used,
        and for a store or a database that fails, here or in the block.
    """
    from kinto_attachment.storage.time_limit import patient

    with _without_kintos_log(), _bootstrapped(ini) as environment:
        registry = environment["registry"]
        if not hasattr(registry, "attachments"):
            _stop(f"{ini} does not include kinto_attachment: add it to kinto.includes.")
        if not hasattr(registry.storage, "client"):
            _stop(
                f"{ini} keeps records in memory: only the running server knows them."
                " Use kinto.storage_backend = kinto.core.storage.postgresql."
            )
        with patient(registry.attachments.store), _one_sentence(advice):
            yield registry


@contextlib.contextmanager
def _without_kintos_log() -> Iterator[None]:
    """Kinto logs each error of a database with its traceback, before it raises it."""
    logger = logging.getLogger("kinto.core.storage")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _bootstrapped(ini: str) -> Any:
    """Pyramid's environment. Whatever stops it is the ini's: nothing else was asked for yet."""
    # What the server's log has is not for cron: only what went wrong.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        with open(ini, encoding="utf-8") as file:
            file.read()
    except FileNotFoundError:
        _stop(f"{ini} does not exist: write the path of Kinto's configuration.")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        _stop(f"{ini} can't be read ({reason}): write the path of Kinto's configuration.")
    from pyramid.exceptions import ConfigurationError
    from pyramid.paster import bootstrap

    try:
        return bootstrap(os.path.abspath(ini), options={"command": "kinto-attachment"})
    except ConfigurationError as error:
        _stop(_first_line(error))
    except Exception as error:
        sentence = sentence_about(error)
        said = f"{type(error).__name__}: {_first_line(error)}"
        _stop(sentence or f"{ini} can't be used ({said}): see that it starts a server.")


@contextlib.contextmanager
def _one_sentence(advice: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        leave_stdout()  # As after `| head`.
        raise CannotLook from None
    except Exception as error:
        sentence = sentence_about(error, advice)
        if sentence is None:  # A fault of ours, to be reported with all that is known.
            traceback.print_exc()
            raise CannotLook from error
        _stop(sentence)


def sentence_about(error: Exception, advice: str = AGAIN) -> str | None:
    """What an operator has to know of it; None for what nobody foresaw."""
    from kinto.core.storage.exceptions import BackendError
    from kinto.core.utils import sqlalchemy

    from kinto_attachment.maintenance.ceiling import AboveCeiling
    from kinto_attachment.maintenance.verification.state import UnusableState
    from kinto_attachment.storage import StoreError

    if isinstance(error, StoreError):
        return f"The store failed: {_first_line(error)}. {advice}"
    if isinstance(error, (BackendError, sqlalchemy.exc.SQLAlchemyError)):
        if "UndefinedTable" in str(error):
            return "The database failed: it has none of Kinto's tables, run `kinto migrate` first."
        return f"The database failed: {_first_line(error)}. {advice}"
    if isinstance(error, (AboveCeiling, UnusableState)):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'The system'}: {error.strerror}. {advice}"
    return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _stop(sentence: str) -> NoReturn:
    complain(sentence)
    raise CannotLook
