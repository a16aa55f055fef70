"""What docs/figures.rst shows: ``make bench``, or ``make bench-quick`` for small files.

Every figure that compares is a ratio of runs that were taken in turns, since machines are noisy;
and what is compared is the processor time of the server, which other work disturbs less.
"""
