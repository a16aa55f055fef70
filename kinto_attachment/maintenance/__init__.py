"""Work on all files and records: it reports, and never prints."""
