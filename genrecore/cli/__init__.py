"""The command `genrecore`: every button of the dashboard as a command."""

from genrecore.cli.app import main

__all__ = ["main"]
