"""Damage in telemetry by name: what it is, what can be done about it, and how it is noted and reported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.telemetry.forms import stated
from vdslib.telemetry.schema import origin_of
from vdslib.telemetry.units import Doubt, check_stated


@dataclass(frozen=True)
class Fault:
    """A kind of damage, and what can be done: policy -> what it does. The first policy is the default."""

    meaning: str
    policies: dict[str, str]

    @property
    def default(self) -> str:
        """The policy in force unless another is chosen."""
        return next(iter(self.policies))


REFUSE = "an error with its place and the remedy"
FAULTS: dict[str, Fault] = {
    "byte_order_mark": Fault(
        "the first column's name begins with a byte order mark", {"strip": "it is removed"}
    ),
    "decimal_comma": Fault(
        "numbers with a comma, decimal or between thousands",
        {
            "refuse": REFUSE,
            "convert": "the comma is taken as a decimal point, unless it may stand between thousands",
        },
    ),
    "units": Fault("numbers that do not fit the unit of their column", {"refuse": REFUSE}),
    "percent_sign": Fault("percentages written with their sign", {"strip": "it is removed"}),
    "time_zone": Fault(
        "times without an offset",
        {"assume": "taken as times of `zone`, UTC unless stated; left out where it has them twice or never"},
    ),
    "absent": Fault("an optional column without any value", {"drop": "the column is left out"}),
    "empty": Fault("no value where one is needed", {"drop": "the row is left out"}),
    "invalid": Fault(
        "a value that the schema refuses",
        {"drop": "the row is left out, or only the value where it may be empty"},
    ),
    "duplicate": Fault("a row that is there already, equal in all columns", {"first": "the first is kept"}),
    "clock_back": Fault(
        "a clock that went back",
        {
            "drop": "the fewer rows are left out of those before and after the step; refused unless chosen where "
            "that is half of a node's or more",
            "sort": "rows are sorted by time: right if only their order is wrong",
        },
    ),
    "repeated_time": Fault(
        "a time of a node with several rows that differ",
        {"first": "the first is kept", "last": "the last is kept", "drop": "none is kept"},
    ),
    "late_start": Fault(
        "a node without cores before its first work", {"drop": "the rows are left out", "keep": "kept"}
    ),
    "shutdown": Fault("a node without cores later on", {"drop": "the rows are left out", "keep": "kept"}),
    "above_100": Fault("CPU usage above 100%", {"keep": "kept", "clip": "set to 100"}),
    "memory_over_capacity": Fault("memory usage above 100%", {"keep": "kept", "clip": "set to 100"}),
    "resize": Fault(
        "a capacity that changes, and with it what its percentage means",
        {
            "mark": "stretches of equal capacity are numbered in the column `segment`; no window crosses them",
            "recompute": "the percentage is recomputed for the node's largest capacity",
        },
    ),
    "outage": Fault("a gap in the rows of a node", {"keep": "the gap stays; no window crosses it"}),
    "irregular": Fault(
        "steps that differ from the interval and are no gap",
        {
            "keep": "kept; no window crosses those that are off by more than 1%",
            "grid": "interpolated to multiples of `interval`, no further than `limit` allows; a row then knows the next one",
        },
    ),
}


def faults() -> pd.DataFrame:
    """Every kind of damage as a table: what it is, the default policy, and others; "refuse" is always possible."""
    rows = [
        {
            "fault": name,
            "meaning": fault.meaning,
            "default": f"{fault.default}: {fault.policies[fault.default]}",
            "or": "; ".join(
                f"{policy}: {does}" for policy, does in fault.policies.items() if policy != fault.default
            ),
        }
        for name, fault in FAULTS.items()
    ]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Report:
    """What was found and done. ``table`` has a row for each kind of damage, column and node:

    - ``fault``: its name, as in ``faults()``
    - ``column``: the column; "" for whole rows
    - ``node``: the node; "" for all of them
    - ``where``: the first rows (numbered from 1 in the table as given) and the first time
    - ``rows``: how many rows have it (gaps: how many gaps)
    - ``lost``: how many rows are left out for it
    - ``action``: what is done, or would be

    ``rows`` in the table as given, of which ``lost`` are left out and ``replaced`` are moved to a grid,
    where ``interpolated`` rows are new: ``rows - lost - replaced + interpolated`` remain.
    """

    origin: str
    table: pd.DataFrame
    rows: int
    lost: int
    replaced: int = 0
    interpolated: int = 0

    def reasons(self) -> str:
        """The faults for which rows are lost, with their numbers, columns and the first rows."""
        lost = self.table[self.table["lost"] > 0]
        groups = lost.groupby(["fault", "column"], sort=False).agg({"lost": "sum", "where": "first"})
        return ", ".join(
            f"{fault} {rows} (column '{column or 'timestamp'}', {where})"
            for (fault, column), rows, where in zip(
                groups.index, groups["lost"], groups["where"], strict=True
            )
        )

    def __str__(self) -> str:
        moved = f", {self.replaced} replaced by {self.interpolated} interpolated" if self.replaced else ""
        head = f"{self.origin}: {self.rows} rows, {self.lost} lost{moved}"
        if self.table.empty:
            return f"{head}; no damage found"
        return f"{head}\n{self.table.to_string(index=False)}"


@dataclass
class Work:
    """A table under repair, and what was found in it. Its index numbers the rows as they were given."""

    frame: pd.DataFrame
    policies: Mapping[str, str]
    units: Mapping[str, str]
    zone: str
    interval: float | None
    limit: float
    dry: bool
    findings: list[tuple[str, str, str, str, int, int, str]] = field(default_factory=list)
    lost: int = 0
    replaced: int = 0
    interpolated: int = 0

    def __post_init__(self) -> None:
        self.origin, self.attrs = origin_of(self.frame), dict(self.frame.attrs)
        self.frame, self.rows = self.frame.reset_index(drop=True), len(self.frame)
        self.done_units = self.attrs.get("units", {})  # stated in an earlier repair
        self.zone = self.zone or self.attrs.get("zone", "")  # stated when the file was read
        for used in ("zone", "short"):
            self.attrs.pop(used, None)
        self.wall = pd.Series(
            dtype=object
        )  # times as they were given, where they have neither offset nor zone
        for name, policy in self.policies.items():
            if name not in FAULTS:
                raise TelemetryError(
                    f"{self.origin}: no fault is called {name!r}. Choose {', '.join(FAULTS)}."
                )
            known = [*FAULTS[name].policies, "refuse"]
            if policy not in known:
                raise TelemetryError(
                    f"{self.origin}: {policy!r} is no policy for {name!r}. Choose {', '.join(known)}."
                )
        check_stated(self.units, self.zone, self.origin)
        for name, value in {"interval": self.interval, "limit": self.limit}.items():
            if value is not None and not 1e-6 <= value < np.inf:
                raise TelemetryError(f"{self.origin}: {stated(name, value)} must be a number above 0.")
        if self.policy("irregular") == "grid" and self.interval is None:
            raise TelemetryError(
                f"{self.origin}: the policy 'grid' needs an interval. State {stated('interval', 300)} for five minutes."
            )

    def policy(self, fault: str) -> str:
        """The policy in force."""
        return self.policies.get(fault, FAULTS[fault].default)

    def refuse(self, fault: str, place: str, problem: str, remedy: str) -> str:
        """The action of what is refused, for the report; an error unless this is only a report.

        Without a ``remedy`` it is a choice of other policies.
        """
        policies = [stated("policy", each, fault) for each in FAULTS[fault].policies if each != "refuse"]
        remedy = remedy or f"Choose a policy for {fault!r}: {', '.join(policies)}."
        if not self.dry:
            raise TelemetryError(f"{self.origin}: {place}: {problem}. {remedy}")
        return f"refused. {remedy}"

    def note_column(self, fault: str, column: str, rows: int, action: str = "") -> None:
        """Report a fault of a whole column."""
        action = action or FAULTS[fault].policies.get(self.policy(fault), "")
        if self.policy(fault) == "refuse":
            action = self.refuse(fault, f"column '{column}'", FAULTS[fault].meaning, "")
        self.findings.append((fault, column, "", "the whole column", rows, 0, action))

    def note(
        self,
        fault: str,
        column: str,
        wrong: pd.Series,
        lost: pd.Series | None = None,
        *,
        action: str = "",
        refused: str = "",
        detail: Callable[[np.ndarray], str] = lambda rows: "",
    ) -> None:
        """Report the rows ``wrong`` [rows], those ``lost`` [rows] among them, as one finding for each node.

        ``detail`` gets positions in the table and adds to the action. ``refused`` is the remedy of what is refused
        whatever the policy.
        """
        at = np.flatnonzero(wrong)
        if not len(at):
            return
        action = action or FAULTS[fault].policies.get(self.policy(fault), "")
        if refused or self.policy(fault) == "refuse":
            place = f"column '{column or 'timestamp'}', row {self.frame.index[at[0]] + 1}"
            action = self.refuse(fault, place, FAULTS[fault].meaning, refused)
        gone = np.zeros(len(self.frame), dtype=bool) if lost is None else lost.to_numpy()
        nodes = self.frame["node"].iloc[at]
        for node, inside in nodes.groupby(nodes.to_numpy(), sort=False).indices.items():
            rows = at[inside]
            time = self.frame["timestamp"].iloc[rows[0]]
            first = ", ".join(str(row + 1) for row in self.frame.index[rows[:3]])
            where = f"row{'s' * (len(rows) > 1)} {first}{', ...' * (len(rows) > 3)}"
            if pd.notna(time):
                where += f" from {time:%Y-%m-%dT%H:%M:%SZ}"
            line = (fault, column, str(node), where, len(rows), int(gone[rows].sum()), action + detail(rows))
            self.findings.append(line)

    def drop(self, fault: str, column: str, wrong: pd.Series, action: str = "") -> None:
        """Report rows and leave them out."""
        self.note(fault, column, wrong, wrong, action=action)
        self.leave_out(wrong)

    def leave_out(self, wrong: pd.Series) -> None:
        """Leave rows out of the table and count them."""
        self.lost += int(wrong.sum())
        self.frame = self.frame[~wrong.to_numpy()]

    def doubt(self, doubt: Doubt) -> None:
        """Report numbers that do not fit their unit, which is an error."""
        place = f"column '{doubt.column}', " + (f"node {doubt.node}" if doubt.node else "rows")
        action = self.refuse("units", place, doubt.reason, doubt.remedy)
        self.findings.append(("units", doubt.column, doubt.node, doubt.reason, doubt.rows, 0, action))
