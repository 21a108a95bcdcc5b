"""Mutations of files of every format: damage to the bytes, and changes within what the bytes mean."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

VALUES: list[Any] = [
    None, True, -1, 0, 1, 3, 65_536, 2**31, 2**62, 2**63, 10**40, -0.5, 1e300, 1e999, "", "x", "..", "/etc/passwd",
    "../../outside", "a\0b", "\ud800", "\x1b[31mred\x1b[0m", "two\nlines", "\u202edesrever", [], {}, [[]], [1, 2, 3],
    {"a": 1}, "9" * 5000, ["x"] * 100, {"kind": "cnn"}, {"kind": "relative"}, "NaN", "1e400",
]  # fmt: skip
KEYS = ["", "extra", "__class__", "../up", "kind", "\x1b[2J", "x" * 500, "a.b", "0", "é"]
NUMBERS = [b"0", b"-1", b"9" * 25, b"1" * 5000, b"1e999", b"0x" + b"f" * 4000, b"1_0", b"99999999999", b"-0", b"007"]
TEXTS = ["*a", "&a", "!!python/object/apply:os.system ['true']", "!!binary x", "!!timestamp 9", "1:30", "0b1", "~",
         "[" * 60, "{a: {a: ", "2001-99-99", ".inf", "0o7", "\x1b[31m", "- - -", "? x", "%YAML 9",
         "|", "'", '"', "<<: 1"]  # fmt: skip
EXTREMES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff",
            b"\0" * 8, b"\xff" * 8, b"\0\0\0\0\0\0\0\x40", (10**13).to_bytes(8, "little")]  # fmt: skip
MOST_MEMBERS = 64


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Another file: its bytes damaged, or one thing changed in the structure that they have."""
    if rng.random() < 0.5:
        for open_format in (_zip, _gzip, _safetensors, _json, _npy, _text):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # zipfile warns of names that stand twice
                    return open_format(content, rng)
            except (
                ValueError,
                OSError,
                EOFError,
                LookupError,
                TypeError,
                AttributeError,
                zipfile.BadZipFile,
                zlib.error,
                tarfile.TarError,
            ):
                continue  # of another format
            except (NotImplementedError, RuntimeError, RecursionError):
                break  # damaged before
    return damage(content, rng)


def damage(content: bytes, rng: random.Random) -> bytes:
    """Other bytes: flipped, cut, taken out, put in, overwritten by extremes, repeated, or longer numbers."""
    result, start = bytearray(content), rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice([1, 2, 4, 8, 64]))
    match rng.randrange(9):
        case 0 if content:
            result[min(start, len(content) - 1)] ^= 1 << rng.randrange(8)
        case 1:
            del result[start:]
        case 2:
            del result[start:end]
        case 3:
            result[start:start] = rng.randbytes(rng.randrange(1, 9))
        case 4 | 5:
            extreme = rng.choice(EXTREMES)
            result[start : start + len(extreme)] = extreme
        case 6:
            result[start:start] = content[start:end]
        case 7:
            result += rng.choice([b"\0", content[:16], rng.randbytes(16), content])[:100_000]
        case _:
            numbers = list(re.finditer(rb"\d+", content[:200_000]))
            if numbers:
                first, last = rng.choice(numbers).span()
                result[first:last] = rng.choice(NUMBERS)
            else:
                result[:1] = b""
    return bytes(result)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in nested lists and objects."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value: Any, rng: random.Random) -> Any:
    """JSON values with one replaced, taken away, renamed, or added."""
    value = json.loads(json.dumps(value))
    inner = [path for path in places(value) if path]
    if not inner:
        return rng.choice(VALUES)
    *way, last = rng.choice(inner)
    parent = value
    for key in way:
        parent = parent[key]
    match rng.randrange(6):
        case 0 | 1 | 2:
            parent[last] = rng.choice(VALUES)
        case 3:
            del parent[last]
        case 4 if isinstance(parent, dict):
            parent[rng.choice(KEYS)] = parent.pop(last)
        case _ if isinstance(parent, dict):
            parent[rng.choice(KEYS)] = rng.choice(VALUES)
        case _:
            parent.append(rng.choice(VALUES))
    return value


def _json(content: bytes, rng: random.Random) -> bytes:
    value = json.loads(content)
    if not isinstance(value, (dict, list)):
        raise ValueError("a number or a text")
    return json.dumps(changed(value, rng)).encode()


def _safetensors(content: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= len(content) - 8:
        raise ValueError("no header")
    header = json.loads(content[8 : 8 + size])
    if own := header.get("__metadata__", {}).get("rlstitch"):  # JSON within JSON within JSON
        if rng.random() < 0.6:
            inner = json.loads(own)
            keys = [key for key in inner if str(inner[key])[:1] in ("{", "[")] if isinstance(inner, dict) else []
            if keys and rng.random() < 0.8:
                key = rng.choice(keys)
                inner[key] = json.dumps(changed(json.loads(inner[key]), rng))
            else:
                inner = changed(inner, rng)
            header["__metadata__"]["rlstitch"] = json.dumps(inner)
        else:
            header = changed(header, rng)
    else:
        header = changed(header, rng)
    packed = json.dumps(header).encode()
    return len(packed).to_bytes(8, "little") + packed + content[8 + size :]


def _npy(content: bytes, rng: random.Random) -> bytes:
    if content[:6] != b"\x93NUMPY":
        raise ValueError("not npy")
    size = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + size].decode("latin-1")
    old, new = rng.choice([
        (r"\(.*\)", "(10000000000000,)"), (r"\(.*\)", "()"), (r"\(.*\)", "(-1,)"), (r"\(.*\)", "(0, 99999999999)"),
        (r"'descr': '[^']*'", "'descr': '|O'"), (r"'descr': '[^']*'", "'descr': '<U999999999'"),
        (r"'descr': '[^']*'", "'descr': '<M8'"), (r"'descr': '[^']*'", "'descr': [('a', '<f4')]"),
        (r"'descr': '[^']*'", "'descr': '<c16'"), (r"False", "True"), (r"\{.*", "(" * 150), (r"\{.*", "open('/x')"),
        (r"\}", ", 'more': 1}"), (r"'shape'", "'form'"), (r"\(", "(" + "9" * 5000 + ","),
        (r"'descr': '[^']*'", "'descr': '|V0'"),
    ])  # fmt: skip
    header = re.sub(old, lambda _: new, header, count=1)
    return (
        content[:8] + min(len(header), 65_535).to_bytes(2, "little") + header.encode("latin-1") + content[10 + size :]
    )


def _text(content: bytes, rng: random.Random) -> bytes:
    text = content.decode()
    if "\0" in text or "\n" not in text:
        raise ValueError("not text")
    lines = text.split("\n")
    row = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0 | 1 | 2:
            head, sign, _ = lines[row].partition(":")
            value = rng.choice([rng.choice(TEXTS), rng.choice(NUMBERS).decode(), json.dumps(rng.choice(VALUES))])
            lines[row] = f"{head}{sign} {value}" if sign else value
        case 3:
            lines.insert(row, lines[row])
        case 4:
            del lines[row]
        case _:
            lines[row] = rng.choice(["  ", "\t", "- ", "\ufeff"]) + lines[row]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _gzip(content: bytes, rng: random.Random) -> bytes:
    if content[:2] != b"\x1f\x8b":
        raise ValueError("not gzip")
    inner = gzip.decompress(content)
    change: Callable[[bytes, random.Random], bytes] = _tar if inner[257:262] == b"ustar" else mutate
    return gzip.compress(change(inner, rng), 1, mtime=0)


def _tar(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return damage(content, rng)
    output = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=output, mode="w") as new:
        members = old.getmembers()
        chosen = rng.randrange(len(members))
        for number, member in enumerate(members):
            extracted = old.extractfile(member)
            inner = extracted.read() if extracted else b""
            if number == chosen:
                match rng.randrange(5):
                    case 0:
                        member.name = rng.choice(
                            ["../../outside", "/outside", "\x1b[31m_a_1.wav", "x" * 150, "9_a_1.wav"]
                        )
                    case 1:
                        member.type, member.linkname = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE]), "/etc/passwd"
                    case 2:
                        member.type = rng.choice([tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
                    case _:
                        inner = mutate(inner, rng)
            member.size = len(inner)
            new.addfile(member, io.BytesIO(inner))
    return output.getvalue()


def _zip(content: bytes, rng: random.Random) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()[:MOST_MEMBERS]]
    if not members:
        raise ValueError("empty")
    packing = rng.choice([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    row = rng.randrange(len(members))
    name, inner = members[row]
    match rng.randrange(9):
        case 0:
            members.insert(row, (name, mutate(inner, rng)))  # twice
        case 1:
            members.insert(row, (name.swapcase(), mutate(inner, rng)))  # a decoy
        case 2:
            members[row] = (rng.choice(["../../outside", "/outside", "\x1b[31m", name + "/", "", "x" * 300]), inner)
        case 3:
            del members[row]
        case _:
            members[row] = (name, mutate(inner, rng))
    with zipfile.ZipFile(output, "w", packing, compresslevel=1) as new:
        for name, inner in members:
            new.writestr(zipfile.ZipInfo(name), inner, packing)
    return output.getvalue()
