"""How ``make docs`` builds the pages: offline, and every warning is an error."""

import kinto_attachment

project = "kinto-attachment"
version = release = kinto_attachment.__version__

root_doc = "index"
exclude_patterns = ["_build"]
highlight_language = "none"
# A name in backquotes that leads nowhere is a mistake.
nitpicky = True

html_theme = "furo"
html_title = f"kinto-attachment {release}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
