"""The lines of a text file one by one, where its table does not show what is wrong with them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vdslib.errors import TelemetryError, Way

MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # how files of other encodings begin


@dataclass(frozen=True)
class Lines:
    """A text file, as its reader states it; ``origin`` is its name in messages."""

    path: Path
    origin: str
    separator: str
    encoding: str

    def short(self) -> list[tuple[int, int]]:
        """The lines with fewer fields than the header: row, from 0, and number of fields. Lines without any are blank,
        which the table shows."""
        records = self._records(strict=False)
        width = len(next(records)[1])
        return [(row, len(fields)) for row, (_, fields) in enumerate(records) if 0 < len(fields) < width]

    def fault(self, error: Exception) -> TelemetryError:
        """What makes the file no table, told by its lines, or else by the ``error`` of who tried to read it."""
        begin, row = 1, 0
        try:
            records = self._records(strict=True)
            begin, header = next(records)
            for row, (line, fields) in enumerate(records, 1):  # rows are counted up to an error
                if len(fields) > len(header):
                    return self._too_many(row, line, header, fields)
                begin = line
        except UnicodeError:
            return self._undecoded()
        except csv.Error:
            return TelemetryError(
                f"{self.origin}: row {row + 1} (line {begin + 1} of the file): a quotation mark that opens there is "
                "not closed, or not followed by a separator. Close it, or remove it."
            )
        except Exception:  # noqa: BLE001, S110  # decompressors share no class of error; theirs is told below
            pass
        reason = " ".join(str(error).split())
        return TelemetryError(
            f"{self.origin}: not readable as comma-separated text ({reason}). "
            "Check that the file is complete and is CSV in UTF-8."
        )

    def _records(self, *, strict: bool) -> Iterator[tuple[int, list[str]]]:
        """The line with which each record of the file ends, and the record's fields."""
        import fsspec  # few files need it

        with fsspec.open(self.path, "rt", encoding=self.encoding, compression="infer", newline="") as text:
            reader = csv.reader(text, delimiter=self.separator, strict=strict)
            for fields in reader:
                yield reader.line_num, fields

    def _too_many(self, row: int, line: int, header: list[str], fields: list[str]) -> TelemetryError:
        remedy = "Delete what is too much, or name it in the header."
        if not any(fields[len(header) :]):
            remedy = f"Remove {self.separator!r} from the end of lines, or add it to the header's."
        elif self.separator == ",":
            remedy = (
                "If the comma stands before decimals too, write the file with ';' between its fields, or with "
                "quotation marks around its numbers. Else delete what is too much, or name it in the header."
            )
        return TelemetryError(
            f"{self.origin}: row {row} (line {line} of the file): {len(fields)} fields, where the header has "
            f"{len(header)}. {remedy}"
        )

    def _undecoded(self) -> TelemetryError:
        start = self.path.read_bytes()[:2]
        other = MARKS.get(start, "cp1252")
        remedy = "Save the file in UTF-8, or state its encoding."
        ways = [Way("Read the file with {} if that is its encoding, or save it in UTF-8.", "encoding", other)]
        return TelemetryError(
            f"{self.origin}: not readable, since it is not written in {self.encoding.removesuffix('-sig').upper()}. {remedy}",
            ways,
            blamed="encoding",
            remedy=remedy,
        )
