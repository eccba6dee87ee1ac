"""Machinery that knows nothing of networks.

services.py    long-running parts, started in layers and stopped in reverse
table.py       rows, indexes, revisions, change feeds
reconciler.py  rows -> the outside, with retries, status and pruning
settings.py    declared settings: defaults, file, environment, flags
logs.py        where log lines go, as text or JSON
clock.py       time, so that tests can move it
locks.py       one process a node
files.py       files of their owner alone, and how many may be open
"""
