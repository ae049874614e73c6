"""Every checkable statement of the paper, each with its test: what ``claims.yaml`` beside this file says."""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from vdslib.claims import judging
from vdslib.claims.findings import STATED, Claim, Finding
from vdslib.errors import VDSError


def read_claims(text: str) -> tuple[Claim, ...]:
    """The claims of a YAML text; VDSError, with the claim's key, where a field or its judge is not as it must be.

    ``judge`` is the name of a judge (``vdslib.claims.judging``), or ``{name: [arguments]}`` of a function that makes one.
    """
    stated, claims = yaml.safe_load(text), []
    known = stated["thresholds"] | {"points": 100 * stated["thresholds"]["effect"]}
    for row in stated["claims"]:
        try:
            last = next(iter(row["judge"].values()))[-1] if isinstance(row["judge"], dict) else None
            threshold = row["threshold"].format(**known, last=last)
            claims.append(Claim(**row | {"threshold": threshold, "judge": _judge(row["judge"])}))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            key = row.get("key", row) if isinstance(row, dict) else row
            raise VDSError(
                f"claims.yaml, {key}: {error}. Give each claim the fields of the others."
            ) from error
    return tuple(claims)


def _judge(stated: str | dict[str, list[Any]]) -> Callable[[Mapping[str, Any]], Finding]:
    name, arguments = (stated, None) if isinstance(stated, str) else next(iter(stated.items()))
    judge: Any = vars(judging).get(name)
    if getattr(judge, "__module__", "") != judging.__name__ or name.startswith("_"):
        raise ValueError(f"there is no judge {name!r}")
    return judge if arguments is None else judge(*arguments)


CLAIMS = read_claims(STATED)
