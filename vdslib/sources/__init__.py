"""Where telemetry comes from: public traces, Prometheus, this host, logs, own sources; the store of many nodes."""

from vdslib.sources.catalogue import (
    SOURCES, Source, cite, default_target, examine, files, load, pinned, read, register, sources,
)  # fmt: skip
from vdslib.sources._pins import PINS, Pin

__all__ = [
    "PINS", "SOURCES", "Pin", "Source", "bitbrains", "cite", "cloudwatch", "default_target", "events", "examine", "files", "host",
    "load", "pinned", "prometheus", "read", "register", "sources", "store", "traces",
]  # fmt: skip
