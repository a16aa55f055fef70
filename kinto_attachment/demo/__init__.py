"""A page to try attachments on; its files are in static/."""
