"""Calls of everything public with drawn arguments, good and bad; `python -m tests.fuzz --help`."""
