"""JSON files and tables, written atomically and read strictly."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import limits
from rlstitch.storage.files import decode_text, read_bytes, write_bytes
from rlstitch.storage.folders import staged_files


def canonical_json(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces: equal values give equal bytes, fit for hashing."""
    return _dumps(value, "value", sort_keys=True, separators=(",", ":")).encode()


def write_json(path: Path, value: Any, *, schema_version: int | None = None) -> None:
    """Write a value as JSON, atomically; NumPy numbers are written as numbers.

    Args:
        path: the file.
        value: a mapping where a schema version is given, else anything that JSON holds.
        schema_version: written first in the file, for `read_json` to check.

    Raises:
        InvalidInputError: the value holds NaN, infinity, or what JSON cannot hold.
        ArtefactError: the operating system refuses.
    """
    if schema_version is not None:
        value = {"schema_version": schema_version, **value}
    write_bytes(path, (_dumps(value, str(path), indent=2) + "\n").encode())


def _dumps(value: Any, where: str, **options: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain, **options)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{where}: cannot be written as JSON: {error}") from None
    return text


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy and torch, without importing either
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


def read_json(path: Path, *, schema_version: int | None = None, max_bytes: int = limits.JSON_BYTES) -> Any:
    """Read a JSON file strictly: no NaN, no infinity, no key twice, no deep nesting.

    Args:
        path: the file.
        schema_version: the file must be an object with this `schema_version`; None takes any value.
        max_bytes: larger files are refused.

    Raises:
        ArtefactError: the file is missing, too large, not JSON, or of another schema version.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), str(path), schema_version=schema_version)


def parse_json(content: bytes | str, where: str, *, schema_version: int | None = None) -> Any:
    """Parse JSON as strictly as `read_json`; `where` names its origin in the errors.

    Raises:
        ArtefactError: it is not JSON, or not JSON that can be used.
    """
    try:
        text = decode_text(content) if isinstance(content, bytes) else content
        _check_amount(text)
        value = json.loads(text, object_pairs_hook=_unique_keys)
        check_tree(value)
    except RecursionError:
        raise ArtefactError(f"{where}: not usable JSON: nested too deeply") from None
    except ValueError as error:  # JSONDecodeError is of this kind
        raise ArtefactError(f"{where}: not usable JSON: {error}") from None
    if schema_version is not None:
        if not isinstance(value, dict):
            raise ArtefactError(f"{where}: expected a JSON object, found {type(value).__name__}")
        version = value.get("schema_version")
        if type(version) is not int or version != schema_version:
            raise ArtefactError(
                f"{where}: expected schema_version {schema_version}, found {str(version)[:40]!r}; "
                "was it written by another version of rlstitch?"
            )
    return value


def _check_amount(text: str) -> None:
    """Refuse JSON that would take many times its own size in memory, by the signs that only values have."""
    containers, values = (sum(map(text.count, signs)) for signs in ("[{", ",:"))
    if containers > limits.JSON_CONTAINERS + len(text) // 64 or values > limits.JSON_VALUES + len(text) // 8:
        raise ValueError("holds too many values")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"repeated key {repeated[:40]!r}")
    return result


def check_tree(value: Any) -> None:
    """Refuse what Python parses but others cannot use: NaN, large numbers, deep nesting, text that is not Unicode."""
    level = [value]
    for _ in range(limits.JSON_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode()
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"{item} is not a finite number")
            elif isinstance(item, int) and not -limits.JSON_INTEGER <= item < limits.JSON_INTEGER:
                raise ValueError("an integer is too large")
            elif isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise ValueError("nested too deeply")


def write_table(rows: Sequence[Mapping[str, Any]], path_without_suffix: Path) -> tuple[Path, Path]:
    """Write rows as `<path>.csv` and `<path>.json`, with columns in the order in which they first appear.

    A result that is not a finite number (a mean of nothing) is an empty cell, and null in JSON.

    Raises:
        InvalidInputError: a cell cannot be written as JSON.
        ArtefactError: the operating system refuses.
    """
    clean: list[dict[str, Any]] = [_cell(row) for row in rows]
    columns = list(dict.fromkeys(key for row in clean for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in clean:
        writer.writerow(
            {key: canonical_json(v).decode() if isinstance(v, (dict, list)) else v for key, v in row.items()}
        )
    folder, name = path_without_suffix.parent, path_without_suffix.name  # `with_suffix` would cut a name with a dot
    with staged_files(folder) as stage:
        write_json(stage / f"{name}.json", clean)
        write_bytes(stage / f"{name}.csv", text.getvalue().encode())
    return folder / f"{name}.csv", folder / f"{name}.json"


def _cell(value: Any) -> Any:
    if isinstance(value, Path) or hasattr(value, "tolist"):
        value = _plain(value)
    if isinstance(value, (list, tuple)):
        return [_cell(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _cell(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
