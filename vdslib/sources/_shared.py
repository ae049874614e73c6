"""What the adapters share: options as numbers, rows in which something was not measured, devices that count twice."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from vdslib.errors import TelemetryError, notice
from vdslib.telemetry import COLUMNS

# Discs and network cards whose bytes others count already, in regular expressions that Python and Prometheus read alike;
# a name matches as a whole. Discs made of others or of memory, and the paths below a multipath disc.
MADE_OF_OTHERS = "(dm-|md|loop|z?ram|sr|fd|zd|bcache|drbd)[0-9]+|nvme[0-9]+c[0-9]+n[0-9]+"
# xvda1 is none of them, since some virtual machines have it without an xvda
PARTITIONS = "((h|s|v)d[a-z]+|(mmcblk|nvme[0-9]+n|nbd|md|loop|zd)[0-9]+p)[0-9]+"
LOOPBACK = "lo[0-9]*"
# Their bytes pass through another card, or never leave the machine: bonds and teams of cards, bridges, the ends of
# containers and virtual machines, tunnels, dummies, VLANs.
VIRTUAL_CARDS = (
    "(bond|team|lagg|br-|bridge|vmbr|virbr|lxcbr|lxdbr|ovs-|docker|podman|cni|fwbr|fwln|fwpr).*|br[0-9]*"
    "|(veth|vnet|vmnet|vboxnet|tap|macvtap|macvlan|ipvlan|cali|cilium|lxc|flannel|weave|kube-|nodelocaldns).*"
    "|(tun|utun|tailscale|zt|vxlan|genev|gre|erspan|sit|ip6tnl|ip6gre|ip_vti|ip6_vti|gif|stf).*"
    "|(wg|ppp|dummy|ifb|nlmon|awdl|llw|anpi|pflog|pfsync|enc)[0-9].*"
    "|vlan.*|.+[.][0-9]+"
)
SYSFS = Path("/sys/class/net")  # where Linux tells of cards


def cards_to_count(names: Iterable[str], sysfs: Path | None = None) -> tuple[list[str], list[str]]:
    """The cards whose bytes are counted, and those left out because their bytes would count twice.

    The loopback is in neither. Where ``sysfs`` is given, on the machine itself, a physical card is one with a
    device below it that is not the lower half of another such card; else names decide. A single virtual card
    without a physical one, as a container may have, counts; of several no one tells which lie upon others, and
    none does.
    """
    outer = [name for name in names if not re.fullmatch(LOOPBACK, name)]
    physical = [name for name in outer if sysfs and _has_device(sysfs / name)]
    if physical:
        # the fast path of a virtual machine's card is a card of its own, whose bytes its master counts as well
        physical = [name for name in physical if not _has_device(sysfs / name / "master")]  # type: ignore[operator]
    else:
        physical = [name for name in outer if not re.fullmatch(VIRTUAL_CARDS, name)]
    counted = outer if len(outer) == 1 else physical
    return counted, [name for name in outer if name not in counted]


def _has_device(card: Path) -> bool:
    return (card / "device").exists()


def left_out(cards: Iterable[str]) -> list[str]:
    """A note on network cards that were left out, where there are any."""
    names = ", ".join(sorted(filter(None, cards)))
    reason = "because their bytes pass through other cards or never leave the machine"
    return [f"network_usage is without {names}, {reason}"] if names else []


def number(options: Mapping[str, str], name: str, default: float, minimum: float, origin: str) -> float:
    """An option as a finite number from ``minimum``; ``default`` where it is not given."""
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = math.nan
    if not minimum <= value < math.inf:
        raise TelemetryError(
            f"{origin}: option '{name}' is {options[name]!r}. Give a number of at least {minimum:g}."
        )
    return value


def complete(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """The columns that every node has, and the rows in which nothing is missing; a warning says what went.

    A column that no node has is left out without a word: the source does not measure it. A row in which a value
    is missing that may not be empty becomes a gap, since a value put there would be invented.
    """
    frame = frame.dropna(axis="columns", how="all")
    needed = [name for name in frame if name not in COLUMNS or not COLUMNS[name].may_be_empty]
    has = frame[needed].notna().groupby(frame["node"]).any()
    partial = [name for name in needed if not has[name].all()]
    if partial:
        lacking = {name: ", ".join(has.index[~has[name]].astype(str)) for name in partial}
        where = "; ".join(f"'{name}' (not measured at {nodes})" for name, nodes in lacking.items())
        notice(f"{origin}: columns that not every node has are left out: {where}.")
        frame = frame.drop(columns=partial)
    kept = frame.dropna(subset=[name for name in needed if name not in partial])
    if len(kept) < len(frame):
        notice(
            f"{origin}: {len(frame) - len(kept)} of {len(frame)} rows are left out, because a column had no "
            "value in them; they are gaps."
        )
    return kept.sort_values(["node", "timestamp"], ignore_index=True)
