"""The command ``vds``."""

from vdslib.cli.command import main, parser, read_parameters

__all__ = ["main", "parser", "read_parameters"]
