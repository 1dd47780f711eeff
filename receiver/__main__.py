"""`python -m receiver` is the `receiver` command."""

from receiver.cli.main import main

main()
