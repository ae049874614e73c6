"""Models are compared at equal budget, or not at all."""

import pandas as pd
import pytest

from vdslib.evaluation import equal_budget

TABLE = pd.DataFrame(
    {"trials": 5, "windows": 4000, "epochs": 40, "seconds": [1.0, 9.0]}, index=["ridge", "network"]
)


def test_a_table_of_equals_is_returned_whatever_each_took():
    pd.testing.assert_frame_equal(equal_budget(TABLE), TABLE)


@pytest.mark.parametrize("column", ["trials", "windows", "epochs"])
def test_a_row_with_more_than_the_others_is_refused(column):
    more = TABLE.copy()
    more.loc["network", column] += 1
    with pytest.raises(
        ValueError, match=f"network had .* {column}, others .*: compare models at equal budget"
    ):
        equal_budget(more)
    with pytest.raises(ValueError, match=f"does not say how many {column}"):
        equal_budget(TABLE.drop(columns=column))
