"""The client side of the command line: files of this machine, and one collection of a server.

It talks to any Kinto that has a kinto-attachment, by kinto-http, and uses nothing of the server's
side of this package. Nothing is noted of what is done: that is seen in the collection, or in the
folder, so a run that was interrupted is simply run again.
"""
