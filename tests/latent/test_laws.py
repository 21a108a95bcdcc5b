"""Laws of every public function, run over the cases of `latent_cases.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_cases import (
    CASES,
    CHOICES,
    FITS,
    NORMALIZATIONS,
    PROJECTIONS,
    Case,
    Spaces,
    as_numpy,
    numbers,
    shuffled,
    spaces,
)

import rlstitch.latent as latent
from rlstitch.errors import InvalidInputError, RlstitchError

ALONE = [name for name, case in CASES.items() if case.alone]
ORDERED = [name for name, case in CASES.items() if case.order]
KINDS = [name for name, case in CASES.items() if not (case.plain or case.tensors)]


def call(name: str, s: Spaces) -> Any:
    case = CASES[name]
    if case.extra:
        pytest.importorskip(case.extra)
    return case.call(s)


def given_to(case: Case, s: Spaces, dtype: Any = np.float64) -> Spaces:
    """The spaces as the case takes them."""
    s = s.map(lambda part: part.astype(dtype))
    return s.map(torch.from_numpy) if case.tensors else s


def test_every_public_name_is_under_the_laws() -> None:
    """All but what functions return, and what holds names."""
    named = {*FITS.values(), *PROJECTIONS.values(), *NORMALIZATIONS.values(), *CHOICES.values()}
    called = {name.split(":")[0] for name in CASES} | named
    results = {name for name in latent.__all__ if is_dataclass(getattr(latent, name))}
    registries = {name for name in latent.__all__ if not callable(getattr(latent, name))} | {"translation_methods"}
    assert sorted(set(latent.__all__) - called - results - registries) == []
    assert called <= set(latent.__all__)


def test_every_method_of_a_registry_has_its_function() -> None:
    s = spaces()
    for name, function in PROJECTIONS.items():
        np.testing.assert_array_equal(getattr(latent, function)(s.x, s.a), latent.project(s.x, s.a, name))
    for name, function in NORMALIZATIONS.items():
        options = {"kind": "pca"} if name == "pca_whiten" else {}
        actual = getattr(latent, function)(s.a, **options)
        assert actual.kind == name
        np.testing.assert_array_equal(actual(s.x), latent.fit_normalization(name, s.a)(s.x))
    for name, function in FITS.items():
        options = {"scale": False} if name == "orthogonal" else {}
        assert torch.equal(getattr(latent, function)(s.a, s.b, **options).matrix, latent.fit(name, s.a, s.b).matrix)
    for name, function in CHOICES.items():
        options = {"metric": "cosine"} if name == "farthest_cosine" else {}
        chosen = getattr(latent, function)(s.x, 5, seed=3, **options)
        np.testing.assert_array_equal(chosen, latent.choose_anchors(name, s.x, 5, 3))
    registries = (latent.NORMALIZATIONS, latent.ANCHOR_METHODS)
    for registry, functions in zip(registries, (NORMALIZATIONS, CHOICES), strict=True):
        assert sorted(registry) == sorted(functions)


@pytest.mark.parametrize("name", CASES)
def test_twice_the_same_bits_and_what_is_given_stays(name: str) -> None:
    s = given_to(CASES[name], spaces())
    before = s.map(lambda part: part.clone() if isinstance(part, torch.Tensor) else part.copy())
    first, second = (list(numbers(call(name, s))) for _ in range(2))
    assert first
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(as_numpy(one), as_numpy(other))
    for field in fields(s):
        np.testing.assert_array_equal(as_numpy(getattr(s, field.name)), as_numpy(getattr(before, field.name)))


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_that_came_in_goes_out_with_the_same_values(name: str) -> None:
    s = spaces()
    arrays, tensors = (list(numbers(call(name, part))) for part in (s, s.map(torch.from_numpy)))
    for array, tensor in zip(arrays, tensors, strict=True):
        if isinstance(array, float | int | str | bool):
            assert tensor == pytest.approx(array)
        else:
            assert isinstance(array, np.ndarray)
            assert isinstance(tensor, torch.Tensor)
            assert as_numpy(tensor).dtype == array.dtype
            np.testing.assert_allclose(as_numpy(tensor), array, atol=1e-9)


# These calls need an array themselves, or take seconds.
ARRAYS_ONLY = {"project_into", "choose_ranked", "fit: affine_gradient"}


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if not case.tensors and n not in ARRAYS_ONLY])
def test_a_data_frame_is_read_as_an_array(name: str) -> None:
    s = spaces()
    for one, array in zip(numbers(call(name, s.map(pandas.DataFrame))), numbers(call(name, s)), strict=True):
        assert type(one) is type(array)
        np.testing.assert_array_equal(one, array)


@pytest.mark.parametrize("name", ALONE)
def test_float32_stays_float32_and_comes_near_to_float64(name: str) -> None:
    exact, coarse = (call(name, given_to(CASES[name], spaces(), dtype)) for dtype in (np.float64, np.float32))
    exact, coarse = as_numpy(exact), as_numpy(coarse)
    if exact.dtype.kind == "f":
        assert (exact.dtype, coarse.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(coarse, exact, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ORDERED)
def test_the_order_of_samples(name: str) -> None:
    s, order = given_to(CASES[name], spaces()), np.random.default_rng(1).permutation(16)
    before, after = call(name, s), call(name, shuffled(s, order))
    expected = CASES[name].order
    if expected == "choice":
        np.testing.assert_array_equal(order[as_numpy(after)], as_numpy(before))
    elif expected == "rows":
        np.testing.assert_allclose(as_numpy(after), as_numpy(before)[order], atol=1e-8)
    else:
        for one, other in zip(numbers(before), numbers(after), strict=True):
            assert one == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("name", ALONE)
def test_a_batch_is_a_loop(name: str) -> None:
    s = given_to(CASES[name], spaces())
    whole = as_numpy(call(name, s))
    rows = [as_numpy(call(name, shuffled(s, slice(row, row + 1)))) for row in range(5)]
    np.testing.assert_allclose(np.concatenate(rows), whole[:5], atol=1e-10)


def change(**parts: Callable[[Any], Any]) -> Callable[[Spaces], Spaces]:
    return lambda s: Spaces(**{f.name: parts.get(f.name, lambda p: p)(getattr(s, f.name)) for f in fields(s)})


def both(function: Callable[[Any], Any]) -> Callable[[Spaces], Spaces]:
    return lambda s: s.map(function)


def put(value: float, row: int | None = None, column: int | None = None) -> Callable[[Any], Any]:
    """A copy with a row, a column or one entry of this value."""

    def function(part: Any) -> Any:
        part = part.copy()
        part[slice(None) if row is None else row, slice(None) if column is None else column] = value
        return part

    return function


DEGENERATE: dict[str, Callable[[Spaces], Spaces]] = {
    "fewer pairs than dimensions": lambda s: spaces(4, 3, 7),
    "a single pair and anchor": both(lambda p: p[:1]),
    "a single anchor": change(a=lambda p: p[:1], b=lambda p: p[:1]),
    "two anchors": change(a=lambda p: p[:2], b=lambda p: p[:2]),
    "duplicated anchors": change(a=lambda p: p[[0, 1] * 4], b=lambda p: p[[0, 1] * 4]),
    "equal anchors": change(a=lambda p: p[[0] * 6], b=lambda p: p[[0] * 6]),
    "equal samples": change(x=lambda p: p[[0] * 16], y=lambda p: p[[0] * 16]),
    "a constant dimension": both(put(0.1, column=1)),
    "a zero vector": both(put(0.0, row=0)),
    "one dimension": both(lambda p: p[:, :1]),
    "dependent dimensions": both(lambda p: np.concatenate([p, p], 1)),
    "zeros": both(np.zeros_like),
    "anchors that are samples": lambda s: Spaces(s.x, s.y, s.x[:9], s.y[:9]),
    "whole numbers": both(np.round),
    "tiny": both(lambda p: p * 1e-30),
    "huge": both(lambda p: p * 1e12),
    "no samples": change(x=lambda p: p[:0], y=lambda p: p[:0]),
    "no anchors": change(a=lambda p: p[:0], b=lambda p: p[:0]),
    "nothing": both(lambda p: p[:0]),
}


# Condition numbers of maps that lose a dimension.
MAY_BE_INFINITE = {"evaluate_translation"}


def finite_or_refused(name: str, s: Spaces) -> None:
    """A result of finite numbers, or an error of ours."""
    try:
        result = list(numbers(call(name, s)))
    except RlstitchError:
        return
    for value in result:
        if not isinstance(value, str):
            array = as_numpy(value)
            assert not np.isnan(array).any()
            assert name in MAY_BE_INFINITE or np.isfinite(array).all()


@pytest.mark.parametrize("name", CASES)
def test_degenerate_input_is_refused_or_gives_numbers(name: str) -> None:
    for number, degenerate in enumerate(DEGENERATE.values()):
        dtype = np.float32 if number % 2 else np.float64
        finite_or_refused(name, given_to(CASES[name], degenerate(spaces()), dtype))


@pytest.mark.parametrize("name", CASES)
def test_nan_and_infinity_are_refused(name: str) -> None:
    for part in CASES[name].reads:
        for bad in (np.nan, np.inf):
            s = change(**{part: put(bad, 1, 0)})(spaces())
            with pytest.raises(InvalidInputError, match="finite"):
                call(name, given_to(CASES[name], s))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(CASES)),
    st.integers(1, 7),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 2, 1000]),
    st.booleans(),
)
def test_any_shape_is_refused_or_gives_numbers(
    name: str, n: int, k: int, d: int, seed: int, grain: int, single: bool
) -> None:
    """Coarse grains make ties, duplicates, constant dimensions and zero vectors."""
    s = spaces(n, k, d, seed)
    s = s.map(lambda part: np.round(part * grain) / max(grain, 1))
    finite_or_refused(name, given_to(CASES[name], s, np.float32 if single else np.float64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", CASES)
def test_cuda_agrees_with_the_cpu(name: str) -> None:
    s = spaces().map(torch.from_numpy)
    on_cpu, on_gpu = (list(numbers(call(name, part))) for part in (s, s.map(torch.Tensor.cuda)))
    for one, other in zip(on_cpu, on_gpu, strict=True):
        if isinstance(one, torch.Tensor):
            assert other.is_cuda
            np.testing.assert_allclose(as_numpy(other), as_numpy(one), atol=1e-6, rtol=1e-5)
        else:
            assert other == pytest.approx(one, rel=1e-5, abs=1e-6)
