"""Breaking things on purpose: record, link and file must agree afterwards."""
