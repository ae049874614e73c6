"""Fair comparisons: nobody learns from more, or tries more often, than the others."""

from collections.abc import Sequence

import pandas as pd


def equal_budget(table: pd.DataFrame, spent: Sequence[str] = ("trials", "windows", "epochs")) -> pd.DataFrame:
    """The table of models unchanged, if all rows may spend the same; ValueError that names the first row with more.

    ``spent``: the columns of what was allowed: settings tried, training windows, epochs at most. What a model took of it
    (parameters, seconds) belongs to the result.
    """
    for column in spent:
        if column not in table:
            raise ValueError(f"the table does not say how many {column} each model had")
        least = table[column].min()
        more = table.index[table[column] > least]
        if len(more):
            raise ValueError(
                f"{more[0]} had {table.loc[more[0], column]:g} {column}, others {least:g}: compare models at equal budget"
            )
    return table
