"""Pictures in one visual language, the words that say what is on them, diagrams."""

from vdslib.figures.diagrams import SYMBOLS
from vdslib.figures.words import alternative_text, digest, number

__all__ = ["SYMBOLS", "alternative_text", "diagrams", "digest", "number", "plots", "words"]
