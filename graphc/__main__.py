"""`python -m graphc` is the command `graphc`."""

from graphc.cli import main

main()
