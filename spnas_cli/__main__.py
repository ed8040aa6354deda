"""`python -m spnas_cli` is `spnas`."""

from spnas_cli.main import main

main()
