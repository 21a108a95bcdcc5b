"""Every public name of the latent core has an example in its docstring, and it is true."""

from __future__ import annotations

import doctest
import importlib
import sys

import numpy as np
import pytest
import torch
from torch import nn

import rlstitch.latent as latent

DOCUMENTED = [name for name in latent.__all__ if callable(getattr(latent, name))]
# What the pages of the reference take for granted.
NAMES = {"np": np, "torch": torch, "nn": nn, **{name: getattr(latent, name) for name in latent.__all__}}
# What an example cannot do without; elsewhere it does not run.
EXTRAS = {
    "nearest_approximate": "faiss",
    "BootstrappedAnchors": "ot",
    "Matching": "ot",
    "bootstrap_anchors": "ot",
    "match_gromov_wasserstein": "ot",
}


def test_constants_are_the_only_names_without_examples() -> None:
    assert sorted(set(latent.__all__) - set(DOCUMENTED)) == [
        "ANCHOR_METHODS",
        "METRICS",
        "NORMALIZATIONS",
        "SIMILARITIES",
    ]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_example_in_docstring(name: str) -> None:
    public = getattr(latent, name)
    module = importlib.import_module(public.__module__)
    (result,) = doctest.DocTestFinder(recurse=False).find(public, name, module=module, globs=dict(NAMES))
    assert result.examples, f"{name} has no example"
    assert any(example.want for example in result.examples), f"the example of {name} shows nothing"
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(result, out=sys.stderr.write)
    assert runner.failures == 0
