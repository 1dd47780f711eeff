"""The `receiver` command: one file per command group."""
