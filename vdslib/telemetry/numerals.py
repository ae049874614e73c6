"""Numbers as texts write them: with a comma or a point before decimals, with a sign between thousands or none."""

import re

import pandas as pd

from vdslib.errors import Way

COMMA = r"[+-]?\d*(?:,\d+)+(?:\.\d*)?"  # a number with a comma, whatever it means
THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"  # a number whose commas may stand between thousands
SURELY = r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3}){2,}(?:\.\d*)?|,\d{3}\.\d*)"  # one whose commas stand nowhere else


def have_commas(values: pd.Series) -> pd.Series:
    """Which values are numbers with a comma."""
    return values.astype(str).str.strip().str.fullmatch(COMMA)


def have_points(columns: pd.DataFrame) -> bool:
    """Whether any number of some columns of texts has a point, so that a comma is no decimal sign of their file."""
    texts = [columns[name].astype(str) for name in columns if pd.api.types.is_string_dtype(columns[name])]
    return any(text.str.contains(".", regex=False).any() for text in texts)


def comma_means(texts: pd.Series, most: float) -> str:
    """What the comma means in the numbers of a column that have one: "decimal", "thousands", or "" where both are
    possible, "both" where each is needed. ``most`` is the largest number that the column may have.

    Three digits after the only comma can be decimals or the rest of thousands; one other number tells.
    """
    text = texts.str.strip()
    thousands = text.str.fullmatch(SURELY).any()
    if not text.str.fullmatch(THOUSANDS).all():
        return "both" if thousands else "decimal"
    if thousands:
        return "thousands"
    return "decimal" if pd.to_numeric(text.str.replace(",", "")).max() > most else ""


def ways(value: str) -> list[Way]:
    """Ways to read a number that has a comma, to be tried on the file."""
    if not re.fullmatch(COMMA, value.strip()):
        return []
    offered = []
    if re.fullmatch(THOUSANDS, value.strip()):
        text = "If the comma stands between thousands, read the file with {}."
        offered.append(Way(text, "thousands", ","))
    if not re.fullmatch(SURELY, value.strip()):
        offered.append(Way("If the comma is a decimal comma, read the file with {}.", "decimal", ","))
    return offered


def plain(text: pd.Series, decimal: str, thousands: str) -> tuple[pd.Series, pd.Series]:
    """Numbers with other signs, with a point and nothing between thousands; and which cannot be read so.

    A sign between thousands must stand where it belongs, three digits from the next; a point where another sign
    stands before decimals is refused. What is no number either way stays as it is.
    """
    result, wrong = text, pd.Series(False, index=text.index)
    if thousands:
        sign, point = re.escape(thousands), re.escape(decimal)
        has = text.str.contains(thousands, regex=False)
        grouped = text.str.strip().str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(?:{sign}\d{{3}})+(?:{point}\d*)?")
        result = result.where(~(has & grouped), result.str.replace(thousands, "", regex=False))
        digits = text.str.strip().str.fullmatch(rf"[+-]?[\d{sign}]+(?:{point}\d*)?")
        wrong |= has & digits & ~grouped
    if decimal != ".":
        wrong |= result.str.contains(".", regex=False)
        result = result.str.replace(decimal, ".", regex=False)
    return result, wrong
