"""A file becomes a record's attachment and stays so: no request, no HTTP."""
