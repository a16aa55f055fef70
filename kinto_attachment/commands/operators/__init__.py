"""Commands beside a server: they need its ini, its database and its store."""
