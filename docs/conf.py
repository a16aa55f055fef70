"""How ``make docs`` builds the pages: offline, and every warning is an error."""

import sys
from pathlib import Path

import kinto_attachment

sys.path.insert(0, str(Path(__file__).parent))

extensions = ["reference_tables"]

project = "kinto-attachment"
version = release = kinto_attachment.__version__

root_doc = "index"
exclude_patterns = ["_build"]
highlight_language = "none"
# Two hyphens are two hyphens: they begin options.
smartquotes = False
# A name in backquotes that leads nowhere is a mistake.
nitpicky = True

html_theme = "furo"
html_title = f"kinto-attachment {release}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
