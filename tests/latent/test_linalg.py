import subprocess
import sys

import numpy as np
import pytest
import torch

from rlstitch.latent import SIMILARITIES, choose_anchors, fit, project, translation_methods
from rlstitch.latent._linalg import cosines, distances, product, singular, solve_positive
from rlstitch.latent.projection.registry import bind

DTYPES = [torch.float32, torch.float64]


def sample(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 3, 400, 17_000])
def test_products_agree_with_torch(n: int, dtype: torch.dtype) -> None:
    x, m = sample(n, 60, seed=0, dtype=dtype), torch.linalg.qr(sample(60, 60, seed=1, dtype=dtype)).Q.contiguous()
    lower = torch.tril(m)
    columns = x.T.clone(memory_format=torch.contiguous_format).T
    units = x / x.norm(dim=1, keepdim=True)
    for ours, theirs in (
        (product(x, m), x @ m),
        (product(x, m.T), x @ m.T),
        (product(x.T, x), x.T @ x),
        (distances(x, m, m[0]), torch.cdist(x - m[0], m)),
        (distances(columns, m.T, m[0]), torch.cdist(x - m[0], m.T)),
        (distances(x, m, m[0], lower), torch.cdist((x - m[0]) @ lower, m)),
        (distances(columns, m.T, m[0], lower), torch.cdist((x - m[0]) @ lower, m.T)),
        (cosines(x, m), units @ m.T),
        (cosines(columns, m.T), units @ m),
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_products_keep_gradients_and_take_them_off_where_told() -> None:
    x, m = sample(300, 60, seed=0).requires_grad_(), sample(60, 60, seed=1)
    assert product(x, m).requires_grad
    assert distances(x, m, m[0], torch.tril(m)).requires_grad
    assert cosines(x, m).requires_grad
    with torch.no_grad():
        assert not product(x, m).requires_grad
        assert not distances(x, m, m[0], torch.tril(m)).requires_grad
        assert not cosines(x, m).requires_grad


@pytest.mark.parametrize("n", [3, 400])
def test_rows_of_no_length_have_no_cosine(n: int) -> None:
    x, units = sample(n, 60, seed=0, dtype=torch.float32), torch.eye(60)
    x[0], x[1], x[2] = 0, 1e-30, x[2] * 1e-12
    result = cosines(x, units)
    assert not result[:2].any()
    torch.testing.assert_close(result[2].norm(), torch.tensor(1.0))


def test_equal_rows_lie_at_no_distance_or_next_to_none() -> None:
    x = sample(300, 60, seed=0, dtype=torch.float32)
    own = distances(x, x - x.mean(0), x.mean(0)).diagonal()
    assert bool((own >= 0).all())
    assert float(own.max()) < 0.02


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [9, 2500])
def test_singular_is_thin_and_puts_x_together_again(dtype: torch.dtype, n: int) -> None:
    x = sample(n, 5, seed=0, dtype=dtype)
    u, s, vh = singular(x.requires_grad_())
    assert (u.shape, s.shape, vh.shape) == ((n, 5), (5,), (5, 5))
    torch.testing.assert_close(u * s @ vh, x.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [7, 120])
def test_solve_positive(dtype: torch.dtype, d: int) -> None:
    root, y = sample(d, d, seed=0), sample(d, 3, seed=1, dtype=dtype)
    gram = (root @ root.T + d * torch.eye(d)).to(dtype)
    expected = torch.linalg.solve(gram, y)
    solution = solve_positive(gram.clone(), y)
    assert solution is not None
    torch.testing.assert_close(solution, expected, atol=1e-5, rtol=1e-4)
    assert solve_positive(-gram, y) is None
    assert solve_positive(torch.diag(torch.logspace(0, 5, d)).to(dtype), y, condition=1e3) is None


def test_nothing_changes_what_it_is_given() -> None:
    x, y = np.asarray(sample(300, 40, seed=0)), np.asarray(sample(300, 40, seed=1))
    before_x, before_y = x.copy(), y.copy()
    for similarity in SIMILARITIES:
        project(x, y[:50], similarity)
        project(x, x, similarity)
    for method in translation_methods():
        fit(method, x, y)
        fit(method, x, y).inverse()
    for method in ("random", "farthest", "farthest_cosine", "central"):
        choose_anchors(method, x, 5)
    np.testing.assert_array_equal(x, before_x)
    np.testing.assert_array_equal(y, before_y)


@pytest.mark.parametrize("similarity", [name for name in SIMILARITIES if name != "geodesic"])
def test_the_projections_can_be_exported(similarity: str) -> None:
    anchors = sample(40, 60, seed=0)

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relation = bind(anchors, similarity, {})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relation(x)

    x = sample(300, 60, seed=1)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(Layer(), (x,), dynamic_shapes={"x": {0: batch}})
    for rows in (300, 7):
        torch.testing.assert_close(program.module()(x[:rows]), project(x[:rows], anchors, similarity))


def test_the_number_of_threads_stays_where_another_thread_runs() -> None:
    code = """
import threading, torch
from rlstitch.latent._linalg import one_torch_thread
end = threading.Event()
torch.set_num_threads(3)
with one_torch_thread():
    print(torch.get_num_threads())
print(torch.get_num_threads())
other = threading.Thread(target=end.wait)
other.start()
with one_torch_thread():
    print(torch.get_num_threads())
end.set()
other.join()
"""  # in a process of its own: threads of other tests' servers may still run in this one
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "3", "3"]
