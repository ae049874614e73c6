"""Shared logic of the executable book on virtual distributed systems (VDS)."""

__version__ = "0.1.0"
