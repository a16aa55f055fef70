"""Kinto for granian, which takes the name of a module and not an ini.

granian --interface wsgi wsgi:application, with KINTO_INI where the ini is elsewhere.
"""

import os

from pyramid.paster import get_app, setup_logging

_INI = os.environ.get("KINTO_INI", "kinto.ini")
setup_logging(_INI)
application = get_app(_INI)
