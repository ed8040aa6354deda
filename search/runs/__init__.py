"""Whole runs: a search, training, exploration, evaluation or export from what a person asks for to what is left behind."""
