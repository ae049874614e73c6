"""Readings of the paper that no measurement decides: what it promises, what its references are about, where it leaks.

They are our reading, row by row, so that a reader can disagree with a row. What can be measured is in
`vdslib.claims.statements`.
"""

from typing import NamedTuple

__all__ = ["LEAKS", "PROMISES", "REFERENCES", "Promise", "Reference"]


class Promise(NamedTuple):
    """What the paper announces, in which section, what became of it there, and what this book does."""

    promise: str
    section: str
    paper: str
    book: str


class Reference(NamedTuple):
    """A reference by its number: what the text cites it for, what it is about, whether the two meet.

    `fits` is "yes", "in part" or "no", judged by title and abstract.
    """

    number: int
    work: str
    cited_for: str
    about: str
    fits: str


PROMISES = (
    Promise(
        "a description of the problem and of the network",
        "abstract, objective 1; stage 1",
        "section 1, prose",
        "the problem in numbers ([1](1-introduction.ipynb)), each gate by hand ([3.1](3-1-architecture.ipynb))",
    ),
    Promise(
        "historical data on CPU, memory, disk and network, and on the configuration",
        "abstract, objective 2; 2",
        "described; not published",
        "recorded, with program, datasheet and checksum ([2.1](2-1-data-collection.ipynb))",
    ),
    Promise(
        "normalised, homogeneous data",
        "1.3; 2",
        "one scaler for everything, fitted on all rows",
        "scalers of known rows only ([2.2](2-2-preparation.ipynb))",
    ),
    Promise(
        "methods and algorithms of allocation, with quantitative metrics",
        "1.3; stage 2",
        "none; MSE is the one metric",
        "metrics of forecasts in all chapters; allocation not yet",
    ),
    Promise(
        "windows over time",
        "3.1, symbol 4",
        "left to the reader by a comment in the program",
        "strided, purged, never across a gap ([2.2](2-2-preparation.ipynb))",
    ),
    Promise(
        "SMOTE",
        "3.1, symbol 3",
        "drawn and explained; not in the program, and made for classes where the target is a number",
        "in the classification of load states, against its rivals ([3.4](3-4-load-states.ipynb))",
    ),
    Promise(
        "a detailed architecture",
        "abstract, objective 3; 3.1",
        "Fig. 1 has 15 symbols, the program 5 layers; they differ",
        "three networks, named apart ([3.1](3-1-architecture.ipynb))",
    ),
    Promise(
        "at least 50 epochs, early stopping and cross-validation",
        "abstract, objective 4; 2",
        "50 epochs; the guards are named in the text and absent from the program",
        "both guards, chronological ([3.3](3-3-experiment.ipynb))",
    ),
    Promise(
        "an evaluation on a test set with an error below 0.05",
        "abstract, objective 5; 1.3; stage 3",
        "said to be reached; the value is not given",
        "measured beside three baselines ([3.3](3-3-experiment.ipynb))",
    ),
    Promise(
        "overfitting reduced by at least 15%",
        "1.3",
        "no value before or after",
        "measured ([3.3](3-3-experiment.ipynb))",
    ),
    Promise(
        "loss curves and their analysis",
        "abstract, objective 6; 3.2",
        "one figure, of one run, read by eye",
        "with and without guards, read by a tested rule ([3.3](3-3-experiment.ipynb))",
    ),
    Promise(
        "an accuracy plot",
        "3.2",
        "printed, and never drawn: no accuracy is computed",
        "of the classifier of load states ([3.4](3-4-load-states.ipynb))",
    ),
    Promise(
        "quantitative improvements in the discussion",
        "stages 4 and 5",
        "none given",
        "every verdict of this page",
    ),
    Promise(
        "10% better performance, 5 to 10% better management",
        "1.3",
        "recommendations without measurement",
        "not yet measured",
    ),
    Promise(
        "control of the system",
        "title",
        "none: nothing acts on a forecast",
        "the worth of foresight is bounded ([1](1-introduction.ipynb)); control itself not yet",
    ),
    Promise(
        "steps that others can follow to similar results",
        "2",
        "data and windows are missing, the network has no seed",
        "two commands, everything seeded",
    ),
)

REFERENCES = (
    Reference(
        1,
        "Yilmaz and Büyüktahtakın",
        "LSTM for managing resources",
        "LSTM for optimisation problems",
        "in part",
    ),
    Reference(2, "Zhu and others", "workload of clouds", "workload of clouds, with attention", "yes"),
    Reference(
        3, "Iordan", "the hyperparameters that matter", "LSTM for the effort of software projects", "in part"
    ),
    Reference(
        4, "Mulás-Tejeda and others", "a robot that avoids obstacles", "a robot that avoids obstacles", "yes"
    ),
    Reference(5, "Botunac and others", "trading with LSTM", "trading with LSTM", "yes"),
    Reference(6, "Jouini and others", "machine learning at the edge", "a survey of it", "yes"),
    Reference(
        7,
        "Xing",
        "LSTM with deep Q-learning (1.2); the program (3.2)",
        "scheduling by deep Q-learning",
        "in part",
    ),
    Reference(
        8,
        "Zheng and others",
        "normalisation of data",
        "scheduling at the edge by reinforcement learning",
        "no",
    ),
    Reference(9, "Ashawa and others", "MSE by Keras' evaluate", "a retraction note on load balancing", "no"),
    Reference(
        10, "Sayed and others", "epochs on the axis of a plot", "a review of traffic forecasting", "no"
    ),
    Reference(11, "Abadi and others", "epochs on the axis of a plot", "TensorFlow as a system", "in part"),
    Reference(
        12, "Chawla and others", "reading the loss curves", "SMOTE, which the text explains without it", "no"
    ),
)

LEAKS = {
    "random split": "the program",
    "windows across the split": "no: its windows have one step",
    "SMOTE before the split": "the text, by its order of steps; the program has no SMOTE",
    "scaler on all rows": "the program",
    "scaler per split": "no",
    "target among the features": "no, but usages and target are of the same second",
    "future rolling features": "no",
    "early stopping on the test set": "no: the program has no early stopping",
    "best test epoch reported": "no: one test error, after the last epoch",
}
"""Who in the paper commits each leak of `vdslib.forecasting.leak_checks`, as audited in chapter 3.2."""
