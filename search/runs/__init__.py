"""Whole runs: a search, training, exploration, evaluation or export, from the request to the files it leaves."""
