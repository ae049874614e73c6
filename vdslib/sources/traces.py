"""Public traces of real machines: fetched once from pinned addresses, checked, kept in the user's cache.

None of their rows is part of the project. Where the variable VDS_TRACES names a folder, files come from that mirror
alone, with the same checks, and nothing is downloaded.
"""

import difflib
import os
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

from vdslib.errors import TelemetryError
from vdslib.sources._pins import PINS, Pin
from vdslib.telemetry import checksum

TIMEOUT = (5, 30)  # seconds for a connection, and without an answer, after which a download is given up


class _NotReachedError(TelemetryError):
    """A trace that is on no mirror, not in the cache, and not to be had from its address."""


def available(*names: str) -> bool:
    """Whether these traces can be had; they are fetched, so that ``fetch`` finds them from then on.

    False where there is neither a mirror nor network. Raises TelemetryError for an unknown name, for a file with
    another hash, and, where VDS_TRACES is set, for a file that its folder lacks: a mirror promises all of them.
    """
    try:
        for name in names:
            fetch(name)
    except _NotReachedError:
        return False
    return True


def _pooch() -> ModuleType:
    """The module pooch, which takes a while to import and which only traces need."""
    with warnings.catch_warnings():
        # in a kernel it is warned of missing widgets for a progress bar that is not used
        warnings.simplefilter("ignore")
        import pooch
    return pooch


def cache() -> Path:
    """The folder in which downloaded traces are kept."""
    return Path(_pooch().os_cache("vdslib"))


def fetch(name: str) -> Path:
    """The file of a pinned trace, such as "bitbrains-rnd/2013-8/332.csv", its SHA-256 checked on every use.

    It comes from the mirror that VDS_TRACES names, else from the cache, else from the pinned address. Raises
    TelemetryError for an unknown name, without network and mirror, and for a file with another hash, which is
    not kept.
    """
    if name not in PINS:
        near = difflib.get_close_matches(name, PINS, n=1)
        raise TelemetryError(f"{name}: no such trace is known.{f' Did you mean {near[0]}?' if near else ''}")
    pin = PINS[name]
    mirror = os.environ.get("VDS_TRACES", "")
    if mirror:
        return _from_mirror(Path(mirror).absolute() / name, pin)
    kept = cache() / name
    if kept.is_file() and checksum(kept) == pin.sha256:
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".fetch-") as folder:
            os.replace(_download(pin, Path(folder)), kept)
    except OSError as error:  # requests' errors are OSErrors too
        # requests tells of a failed connection at length
        answered = getattr(error, "response", None) is not None
        reason = str(error) if answered else error.strerror or "no connection"
        raise _NotReachedError(
            f"{name}: cannot be fetched from {pin.address} ({reason}). Connect to the network, or set VDS_TRACES "
            "to a folder that holds the file under this name."
        ) from None
    except ValueError:
        raise TelemetryError(
            f"{name}: what {pin.address} holds is not the pinned file (its SHA-256 differs). It was not kept: "
            "try again, and if it stays so, use another copy by VDS_TRACES."
        ) from None
    return kept


def _from_mirror(path: Path, pin: Pin) -> Path:
    if not path.is_file():
        raise TelemetryError(
            f"{path}: there is no such file in the mirror that VDS_TRACES names. Add it from {pin.address}, or "
            "unset VDS_TRACES to download it."
        )
    if checksum(path) != pin.sha256:
        raise TelemetryError(
            f"{path}: the file is refused, since its SHA-256 is not the pinned one. Copy it again from {pin.address}."
        )
    return path


def _download(pin: Pin, folder: Path) -> Path:
    """The pinned file, downloaded to ``folder`` and checked; ValueError where the hash is wrong."""
    pooch = _pooch()
    pooch.get_logger().setLevel("WARNING")
    whole = pin.first == ""
    path = Path(
        pooch.retrieve(
            pin.address,
            known_hash=pin.sha256 if whole else None,
            fname="whole",
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
        )
    )
    if not whole:
        lines = path.read_bytes().splitlines(keepends=True)
        first = next((i for i, line in enumerate(lines) if line.startswith(pin.first.encode())), 0)
        path.write_bytes(b"".join([lines[0], *lines[first : first + pin.rows]]))
        if checksum(path) != pin.sha256:
            raise ValueError(pin.address)
    return path
