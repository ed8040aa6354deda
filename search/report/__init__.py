"""The figures and the self-contained report page."""
