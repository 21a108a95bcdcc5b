"""`rlstitch latent encode` on many lines: memory, rate, and what `kill -9` at any moment costs.

    python benchmarks/encode_stream.py [--items 100000] [--kills 10] [--seed 0] [--quick]

Lines are made up; they are encoded by the plain encoder, which is fast, so that streaming is what shows. The command
runs undisturbed on a hundredth of the lines and on all: what it holds more for all is set beside the vectors' own size.
Then it is begun anew and killed at moments drawn uniformly from the first third of the time that encoding took,
counted from the first batch of each run, until it has died so often, and let finish; every item that is encoded is
noted, by which those encoded twice are counted. A BERT of the size of
MiniLM-L6 with random weights, written to the disk, is set beside the same network called directly. Writes
docs/results/encode.md (not with --quick).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlstitch.storage import load_space

PAGE = Path("docs/results/encode.md")
BATCH = 256
WORDS = [f"{first}{second}{last}" for first in "bdgklmnprst" for second in "aeiou" for last in "lmnrst"]

# The command, with a note of every item that is encoded.
NOTED = """
import os, sys
from rlstitch.cli.main import main
from rlstitch.modalities import plain_encoders as plain

inner, notes = plain.hashed_words, os.open("encoded", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def noted(texts):
    found = inner(texts)
    os.write(notes, "".join(f"{text.partition(' ')[0]}\\n" for text in texts).encode())
    return found

plain.PLAIN["text"] = ("hashing", noted)
sys.exit(main(sys.argv[1:]))
"""
PLAIN = "import sys; from rlstitch.cli.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class Ended:
    """How a command ended: status, seconds on the wall and of the processor, peak of memory in MiB, and its word."""

    status: int
    seconds: float
    processor: float
    peak: float
    reported: str


def run(
    program: str, folder: Path, lines: str, out: str, *, model: str = "hashing", dies: float | None = None
) -> Ended:
    """Run the command in a process of its own; `dies`: seconds after its first batch until it is killed."""
    arguments = [
        "latent", "encode", "--modality", "text", "--model", model, "--input", lines, "-o", out,
        "--batch-size", str(BATCH), "--device", "cpu",
    ]  # fmt: skip
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    if dies is not None:
        threading.Thread(target=kill_later, args=(process, folder / "encoded", dies), daemon=True).start()
    reported = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    spent = usage.ru_utime + usage.ru_stime
    return Ended(process.returncode, time.monotonic() - begun, spent, usage.ru_maxrss / 1024, reported)


def kill_later(process: subprocess.Popen[bytes], notes: Path, seconds: float) -> None:
    """Kill a process so many seconds after it first noted an item more than there are now."""
    before = notes.stat().st_size if notes.exists() else 0
    while process.returncode is None and (not notes.exists() or notes.stat().st_size == before):
        time.sleep(0.005)
    time.sleep(seconds)
    if process.returncode is None:
        process.kill()


def write_lines(path: Path, count: int, seed: int) -> None:
    """Write lines that all differ, of 6 to 20 words, the number of the line first."""
    rng = random.Random(seed)
    with path.open("w") as stream:
        stream.writelines(f"{row} {' '.join(rng.choices(WORDS, k=rng.randint(5, 19)))}\n" for row in range(count))


def same(folder: Path) -> bool:
    """Whether the killed command's file equals the undisturbed one's, byte by byte."""
    return (folder / "killed.safetensors").read_bytes() == (folder / "whole.safetensors").read_bytes()


def encoded_twice(folder: Path) -> int:
    """Count the items that were encoded more than once; an error ends the benchmark where one never was."""
    counts = Counter((folder / "encoded").read_text().split())
    if len(counts) != sum(1 for _ in (folder / "all.txt").open()):
        raise SystemExit("an item was never encoded")
    return sum(count - 1 for count in counts.values())


def killed(folder: Path, seconds: float, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill the command so often, let it finish, and compare with `whole.safetensors`."""
    rows, finishes, twice = [], 0, 0
    while len(rows) < kills:
        ended = run(NOTED, folder, "all.txt", "killed.safetensors", dies=rng.uniform(0, seconds))
        if (folder / "killed.safetensors").exists():  # done before its moment: begun anew
            if not same(folder):
                raise SystemExit("a file of the output's name was not whole")
            finishes, twice = finishes + 1, twice + encoded_twice(folder)
            (folder / "killed.safetensors").unlink()
            (folder / "encoded").unlink()
            continue
        if ended.status != -signal.SIGKILL:
            raise SystemExit(ended.reported)
        rows.append(sum(1 for _ in (folder / "encoded").open()) if (folder / "encoded").exists() else 0)
    if run(NOTED, folder, "all.txt", "killed.safetensors").status:
        raise SystemExit("the command did not finish after the kills")
    twice += encoded_twice(folder)
    return {"at": rows, "twice": twice, "equal": same(folder), "finishes": finishes}


def network(folder: Path, texts: list[str]) -> None:
    """Write a BERT of six layers, 384 wide, with random weights and a vocabulary of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    inner = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(words), hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
    ).save_pretrained(folder)


def beside_the_network(folder: Path, repeats: int) -> tuple[float, float]:
    """Return items a second of the processor, medians: by the stream, and by the encoder called batch by batch."""
    from rlstitch.api.spaces.encode import encode_stream
    from rlstitch.modalities.items import text_items
    from rlstitch.modalities.pretrained import load_text_encoder
    from rlstitch.storage.space_stream import SpaceStream

    texts = (folder / "some.txt").read_text().splitlines()
    network(folder / "bert", texts)
    encoder = load_text_encoder(str(folder / "bert"))
    items = text_items(folder / "some.txt")
    ours, direct = [], []
    for repeat in range(repeats):
        begun = time.process_time()
        with SpaceStream(folder / f"{repeat}.safetensors", items.keys, {}) as stream:
            encode_stream(items, encoder, stream, batch_size=32)
        ours.append(len(texts) / (time.process_time() - begun))
        begun = time.process_time()
        vectors = np.concatenate([encoder.encode(texts[row : row + 32]) for row in range(0, len(texts), 32)])
        direct.append(len(texts) / (time.process_time() - begun))
        if not np.array_equal(load_space(folder / f"{repeat}.safetensors").vectors, vectors):
            raise SystemExit("the stream's vectors are not the network's")
    return statistics.median(ours), statistics.median(direct)


def page(items: int, small: Ended, whole: Ended, size: float, kills: dict[str, Any], rates: tuple[float, float]) -> str:
    """Return the page."""
    held = whole.peak - small.peak
    within = "held" if held < size / 2 else "**missed**"
    ours, direct = rates
    died = ", ".join(f"{row:,}" for row in kills["at"])
    bytes_are = "equalled" if kills["equal"] else "**did not equal**"
    return f"""# Encoding as a stream

`python benchmarks/encode_stream.py`: {items:,} made-up lines of 6 to 20 words, the plain encoder of texts
(256 numbers), batches of {BATCH}, one thread, on a machine that others kept busy. Each row is a process of
its own, its start included.

| items | wall, s | processor, s | peak of memory, MiB |
|---|---|---|---|
| {items // 100:,} | {small.seconds:.1f} | {small.processor:.1f} | {small.peak:.0f} |
| {items:,} | {whole.seconds:.1f} | {whole.processor:.1f} | {whole.peak:.0f} |

For {items:,} items it held {held:.0f} MiB more than for a hundredth of them: their keys, as no vectors are
kept; the vectors take {size:.0f} MiB on the disk. Bar: less than half of that, {within}.

## Killed

`kill -9` {len(kills["at"])} times at moments drawn uniformly from a third of the time that encoding took, counted from
the first batch of each run; the same command again each time, then left to finish ({kills["finishes"]} further times
it was done before its moment, and begun anew).
Items encoded when it died: {died}.
In all these, every item was encoded, and {kills["twice"]:,} of them twice (a batch that is encoded and not yet
on the disk is lost: at most {BATCH} a kill). No file of the output's name was ever there that was
not whole; in the end its bytes {bytes_are} those of the undisturbed run.

## Beside the network alone

A BERT of the size of MiniLM-L6 (six layers, 384 wide, random weights, loaded from a folder), batches of
32, median of three in turn: {ours:.0f} lines a second of the processor as a stream, {direct:.0f} by calling the
encoder itself; the vectors are equal. Not measured: a GPU.
"""


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="2,000 items, one kill; prints, and writes nothing")
    options = parser.parse_args()
    if options.quick:
        options.items, options.kills = 2000, 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lines(folder / "all.txt", options.items, options.seed)
        write_lines(folder / "some.txt", options.items // 100, options.seed)
        small = run(PLAIN, folder, "some.txt", "small.safetensors")
        whole = run(PLAIN, folder, "all.txt", "whole.safetensors")
        if small.status or whole.status:
            raise SystemExit(small.reported + whole.reported)
        size = (folder / "whole.safetensors").stat().st_size / 2**20
        kills = killed(folder, max(0.1, whole.seconds - small.seconds) / 3, options.kills, random.Random(options.seed))
        rates = beside_the_network(folder, 1 if options.quick else 3)
        text = page(options.items, small, whole, size, kills, rates)
    print(text)
    if not options.quick:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
