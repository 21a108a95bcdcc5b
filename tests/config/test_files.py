"""YAML is read as YAML 1.1 and YAML 1.2 both read it, or refused."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from rlstitch.config.files import parse_yaml, parse_yaml_file
from rlstitch.config.sweep import load_sweep
from rlstitch.config.training import load_config
from rlstitch.errors import InvalidInputError

CONFIG = "environment: MiniGrid-DoorKey-5x5-v0\n"


@pytest.mark.parametrize(
    "text",
    [
        "010", "-010", "08", "00", "0o17", "0b11", "0x1_F", "1_0", "1__000", "1_000.5", "1:30", "1:30.5", "12:30:45",
        "2024-01-01", "2024-01-01 10:00:00", "2001-12-14t21:59:43.10-05:00", "<<", "=",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["{}", "a: {}", "[1, {}]", "{}: 1"])
def test_what_yaml_1_1_and_1_2_read_differently_is_refused(text: str, place: str) -> None:
    with pytest.raises(InvalidInputError, match="is ambiguous") as caught:
        parse_yaml(place.replace("{}", text))
    assert f"write '{text}' in quotes" in str(caught.value)
    assert parse_yaml(f"'{text}'") == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-12", -12), ("+12", 12), ("1_000", 1000), ("1_000_000", 1_000_000), ("0x1F", 31), ("1e5", 1e5),
        ("1.5e3", 1500.0), (".5", 0.5), ("-1.", -1.0), (".inf", float("inf")), ("9223372036854775807", 2**63 - 1),
        ("true", True), ("yes", True), ("off", False), ("~", None), ("1,000", "1,000"), ("192.168.0.1", "192.168.0.1"),
        ("blue+shift:3", "blue+shift:3"), ("10:00-11:00", "10:00-11:00"), ("v1:30", "v1:30"), ("y", "y"),
    ],
)  # fmt: skip
def test_what_they_read_alike_is_read(text: str, value: object) -> None:
    read = parse_yaml(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("!!binary aGk=", "tags are not allowed, found 'tag:yaml.org,2002:binary'"),
        ("!!timestamp x", "tags are not allowed"),
        ("!!bool maybe", "tags are not allowed"),
        ("! a", "tags are not allowed"),
        ("9223372036854775808", "expected whole numbers below 2^63 in size"),
        ("9" * 5000, "expected whole numbers below 2^63 in size, found 9999"),
        ("{" * 40_000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        (f"[{'1,' * 20_000}]", "more than 20,000 keys and values"),
        (f"? [{'1,' * 100}]\n: 1", "expected text as key, found"),
    ],
)
def test_what_no_config_needs_is_refused_at_once(text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_yaml(text)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["seed: 010", "total_steps: 1:30"])
def test_a_training_is_told_the_quoted_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG + text)
    value = text.partition(": ")[2]
    with pytest.raises(InvalidInputError, match=rf"a\.yaml: .*write '{value}' in quotes .*line 2"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("controller: {hidden: 64}", "controller.hidden: expected a list, found 64"),
        ("modules: mine", "modules: expected a list, found 'mine'"),
        ("seed: [1]", "seed: expected a whole number, found [1]"),
        ("name: no", "name: expected text, found False; write yes, no, on and off in quotes, as 'no'"),
    ],
)
def test_values_of_another_kind(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG + text)
    with pytest.raises(InvalidInputError) as caught:
        load_config(tmp_path / "a.yaml")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("axes: {seed: 1}\nresources.cpus: 2", "resources.cpus: unknown key; write it as a section, resources: {cpus:"),
        ("axes: {seed: 1}\nset.total_steps: 2", "write it as a section, set: {total_steps: ...}"),
        ("axes.seed: [1]", "write it as a section, axes: {seed: ...}"),
    ],
)
def test_dotted_keys_of_a_sweep_are_sections(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        load_sweep(tmp_path / "a.yaml")
    assert problem in str(caught.value)


def test_a_byte_order_mark_is_read_and_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(codecs.BOM_UTF8 + b"a: 1\n")
    assert parse_yaml_file(path) == {"a": 1}
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_text("a: 1\n", encoding=encoding)
        with pytest.raises(InvalidInputError, match=r"a\.yaml: expected UTF-8, found UTF-16"):
            parse_yaml_file(path)
