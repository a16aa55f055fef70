"""An extension of Kinto that refuses to have a record written, as often as a file says: a fault
that passes. The file's path is the setting ``failing_records``."""

import re
from pathlib import Path

from pyramid.config import Configurator
from pyramid.events import NewRequest
from pyramid.httpexceptions import HTTPServiceUnavailable


def includeme(config: Configurator) -> None:
    config.add_subscriber(_fail, NewRequest)


def _fail(event: NewRequest) -> None:
    request = event.request
    if request.method in ("PUT", "PATCH") and re.search("/records/[^/]+$", request.path_info):
        left = Path(request.registry.settings["failing_records"])
        times = int(left.read_text()) if left.exists() else 0
        if times:
            left.write_text(str(times - 1))
            raise HTTPServiceUnavailable()
