"""The command line: one module per command, each of them parse, call, translate, print."""

__version__ = "0.1.0"
