"""Similarity of spaces: invariances (both ways), naive twins, golden values, degenerate input."""

import numpy as np
import pytest
import scipy.spatial
import scipy.spatial.distance as spd
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rlstitch.latent as latent
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.latent import similarity
from rlstitch.latent.similarity import (
    linear_cka,
    matched_cosine,
    minibatch_cka,
    mutual_knn,
    procrustes_distance,
    pwcca,
    rbf_cka,
    rsa,
    svcca,
)


def spaces(n=60, dx=7, dy=5, seed=0, noise=0.4):
    """Two noisy views of the same two hidden factors, away from the origin."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 4))
    x = hidden @ rng.normal(size=(4, dx)) + noise * rng.normal(size=(n, dx)) + 1.5
    y = hidden @ rng.normal(size=(4, dy)) + noise * rng.normal(size=(n, dy)) - 0.5
    return x, y


MEASURES = {
    "linear_cka": linear_cka,
    "linear_cka_debiased": lambda x, y: linear_cka(x, y, debiased=True),
    "rbf_cka": rbf_cka,
    "rbf_cka_debiased": lambda x, y: rbf_cka(x, y, debiased=True),
    "svcca": lambda x, y: svcca(x, y, variance=1.0),
    "pwcca": pwcca,
    "procrustes": procrustes_distance,
    "rsa_correlation": rsa,
    "rsa_cosine": lambda x, y: rsa(x, y, distance="cosine"),
    "rsa_euclidean": lambda x, y: rsa(x, y, distance="euclidean"),
    "mutual_knn_cosine": lambda x, y: mutual_knn(x, y, 5),
    "mutual_knn_euclidean": lambda x, y: mutual_knn(x, y, 5, metric="euclidean"),
}
# What applying a transformation to x alone leaves as it was: orthogonal, scale, translation, invertible linear.
INVARIANT = {
    "linear_cka": "OST",
    "linear_cka_debiased": "OST",
    "rbf_cka": "OST",
    "rbf_cka_debiased": "OST",
    "svcca": "OSTL",
    "pwcca": "ST",  # weights come from x's own coordinates: of the four only a rotation of y, or scale and shift of x
    "procrustes": "OST",
    "rsa_correlation": "S",
    "rsa_cosine": "OS",
    "rsa_euclidean": "OST",
    "mutual_knn_cosine": "OS",
    "mutual_knn_euclidean": "OST",
}

GOLDEN = {
    "linear_cka": 0.408148,
    "linear_cka_debiased": 0.381256,
    "rbf_cka": 0.468806,
    "rbf_cka_debiased": 0.416214,
    "svcca": 0.812224,
    "pwcca": 0.918639,
    "procrustes": 0.744536,
    "rsa_correlation": 0.487581,
    "rsa_cosine": 0.435945,
    "rsa_euclidean": 0.478696,
    "mutual_knn_cosine": 0.323333,
    "mutual_knn_euclidean": 0.316667,
}


def transformed(x, kind):
    rng = np.random.default_rng(3)
    if kind == "O":
        return x @ np.linalg.qr(rng.normal(size=(x.shape[1], x.shape[1])))[0]
    if kind == "S":
        return 3.7 * x
    if kind == "T":
        return x + 4 * rng.normal(size=x.shape[1])
    return x @ (rng.normal(size=(x.shape[1], x.shape[1])) + np.diag(np.arange(1.0, x.shape[1] + 1)))


def test_every_measure_is_in_the_table():
    """But two: one is another's estimate, and one wants equal coordinates."""
    public = {name for name in vars(similarity) if name in latent.__all__}
    measured = {"procrustes_distance" if name == "procrustes" else name for name in MEASURES}
    missing = {
        name for name in public if callable(getattr(latent, name)) and not any(m.startswith(name) for m in measured)
    }
    assert missing - {"nearest"} == {"minibatch_cka", "matched_cosine"}
    assert set(INVARIANT) == set(MEASURES) == set(GOLDEN)


@pytest.mark.parametrize("kind", "OSTL")
@pytest.mark.parametrize("name", MEASURES)
def test_invariance_table(name, kind):
    x, y = spaces()
    plain, moved = MEASURES[name](x, y), MEASURES[name](transformed(x, kind), y)
    if kind in INVARIANT[name]:
        assert moved == pytest.approx(plain, abs=1e-9)
    else:
        assert abs(moved - plain) > 1e-3


@pytest.mark.parametrize("name", MEASURES)
def test_order_kind_and_width_of_samples_do_not_matter(name):
    x, y = spaces()
    order = np.random.default_rng(1).permutation(len(x))
    plain = MEASURES[name](x, y)
    assert isinstance(plain, float)
    assert MEASURES[name](x[order], y[order]) == pytest.approx(plain, abs=1e-10)
    assert MEASURES[name](torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(plain, abs=1e-12)
    assert MEASURES[name](x.astype(np.float32), y.astype(np.float32)) == pytest.approx(plain, abs=2e-2)
    assert MEASURES[name](x[order], y) != pytest.approx(plain, abs=1e-2)  # pairs matter


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"pwcca"}))
def test_symmetric_and_extreme_with_itself(name):
    x, y = spaces()
    assert MEASURES[name](x, y) == pytest.approx(MEASURES[name](y, x), abs=1e-9)
    assert MEASURES[name](x, x) == pytest.approx(0.0 if name == "procrustes" else 1.0, abs=1e-6)


def test_golden_values():
    x, y = spaces()
    result = {name: round(measure(x, y), 6) for name, measure in MEASURES.items()}
    assert result == pytest.approx(GOLDEN, abs=2e-6)


def gram_hsic(k, m, debiased):
    """Textbook HSIC of two Gram matrices."""
    n = len(k)
    if not debiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ m @ h)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    mean = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + mean - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def gram_cka(k, m, debiased):
    return gram_hsic(k, m, debiased) / np.sqrt(gram_hsic(k, k, debiased) * gram_hsic(m, m, debiased))


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(("n", "dx", "dy"), [(60, 7, 5), (6, 20, 30), (10, 20, 3)])
def test_linear_cka_is_that_of_gram_matrices(n, dx, dy, debiased):
    x, y = spaces(n, dx, dy)
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(gram_cka(x @ x.T, y @ y.T, debiased), abs=1e-10)


@pytest.mark.parametrize("debiased", [False, True])
def test_rbf_cka_is_that_of_gram_matrices(debiased, monkeypatch):
    x, y = spaces(50)

    def gram(z):
        squared = spd.squareform(spd.pdist(z)) ** 2
        width = 0.7 * np.sort(spd.pdist(z))[(len(z) * (len(z) - 1) // 2 - 1) // 2]
        return np.exp(-squared / (2 * width**2))

    expected = gram_cka(gram(x), gram(y), debiased)
    assert rbf_cka(x, y, bandwidth=0.7, debiased=debiased) == pytest.approx(expected, abs=1e-9)
    monkeypatch.setattr("rlstitch.latent.similarity._BLOCK", 7)
    assert rbf_cka(x, y, bandwidth=0.7, debiased=debiased) == pytest.approx(expected, abs=1e-9)


def test_rbf_cka_of_mostly_equal_rows():
    x, y = spaces(20)
    x[:16] = x[0]
    assert 0 < rbf_cka(x, y) < 1


def test_debiased_cka_does_not_reward_width():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 200)), rng.normal(size=(40, 200))
    assert linear_cka(x, y) > 0.7
    assert abs(linear_cka(x, y, debiased=True)) < 0.15


def test_minibatch_cka():
    x, y = spaces(400)
    one = minibatch_cka([(x, y)])
    assert one == pytest.approx(linear_cka(x, y, debiased=True), abs=1e-12)
    many = minibatch_cka((x[i : i + 40], y[i : i + 40]) for i in range(0, 400, 40))
    assert many == pytest.approx(one, abs=0.05)
    with pytest.raises(InvalidInputError, match="batch"):
        minibatch_cka([])
    with pytest.raises(InvalidInputError, match="4 pairs, found 3"):
        minibatch_cka([(x[:3], y[:3])])
    with pytest.raises(InvalidInputError, match="vary"):
        minibatch_cka([(np.ones((5, 2)), y[:5])])


def test_minibatch_cka_with_gaussian_kernels():
    x, y = spaces(400)
    assert minibatch_cka([(x, y)], kernel="rbf") == pytest.approx(rbf_cka(x, y, debiased=True), abs=1e-12)
    batches = [(x[i : i + 40], y[i : i + 40]) for i in range(0, 400, 40)]
    assert minibatch_cka(batches, kernel="rbf") == pytest.approx(rbf_cka(x, y, debiased=True), abs=0.05)
    widths = [0.7 * np.sort(spd.pdist(z[:40]))[389] for z in (x, y)]  # the lower median of 780, of the first batch
    grams = [
        [np.exp(-(spd.squareform(spd.pdist(z)) ** 2) / (2 * w**2)) for z, w in zip(batch, widths, strict=True)]
        for batch in batches
    ]
    cross, own_x, own_y = (np.mean([gram_hsic(g[p], g[q], True) for g in grams]) for p, q in ((0, 1), (0, 0), (1, 1)))
    result = minibatch_cka(batches, kernel="rbf", bandwidth=0.7)
    assert result == pytest.approx(cross / np.sqrt(own_x * own_y), abs=1e-9)
    with pytest.raises(InvalidInputError, match="x must vary"):
        minibatch_cka([(np.ones((5, 2)), y[:5])], kernel="rbf")
    with pytest.raises(UnknownNameError, match="did you mean rbf"):
        minibatch_cka(batches, kernel="rbg")  # type: ignore[arg-type]


def test_procrustes_is_scipys():
    x, y = spaces(dx=5)
    disparity = scipy.spatial.procrustes(x, y)[2]  # 1 - ||X^T Y||_*^2
    assert procrustes_distance(x, y) == pytest.approx(np.sqrt(2 - 2 * np.sqrt(1 - disparity)), abs=1e-9)
    z = spaces(dx=5, seed=9)[0]
    assert procrustes_distance(x, z) <= procrustes_distance(x, y) + procrustes_distance(y, z) + 1e-12


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "correlation"])
def test_rsa_is_scipys(distance):
    x, y = spaces()
    first, second = spd.pdist(x, distance), spd.pdist(y, distance)
    assert rsa(x, y, distance=distance) == pytest.approx(scipy.stats.spearmanr(first, second)[0], abs=1e-10)
    assert rsa(x, y, distance=distance, rank=False) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-10)


def test_rsa_shares_ranks_of_ties():
    x, y = np.round(spaces(30)[0]), np.round(spaces(30)[1])
    expected = scipy.stats.spearmanr(spd.pdist(x), spd.pdist(y))[0]
    assert rsa(x, y, distance="euclidean") == pytest.approx(expected, abs=1e-6)


def test_mutual_knn_is_that_of_sets(monkeypatch):
    x, y = spaces()

    def sets(z):
        d = spd.squareform(spd.pdist(z, "cosine"))
        np.fill_diagonal(d, np.inf)
        return [set(row.argsort()[:6]) for row in d]

    expected = np.mean([len(a & b) / 6 for a, b in zip(sets(x), sets(y), strict=True)])
    assert mutual_knn(x, y, 6) == pytest.approx(expected)
    monkeypatch.setattr("rlstitch.latent.similarity._MARKS", 7 * len(x))
    assert mutual_knn(x, y, 6) == pytest.approx(expected)
    assert mutual_knn(x, y, len(x) - 1) == 1.0


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_in_float32_are_those_in_float64(metric):
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) + 1000
    assert mutual_knn(x, x.double(), 10, metric=metric) == 1
    if metric == "euclidean":
        assert mutual_knn(x, x - 1000, 10, metric=metric) == 1


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"pwcca"}))
def test_symmetric_whatever_the_dtypes(name):
    x, y = (torch.from_numpy(space) for space in spaces())
    x, y = x.float(), y + 1e4
    assert MEASURES[name](x, y) == pytest.approx(MEASURES[name](y, x), abs=1e-9)
    assert MEASURES[name](x, y) == pytest.approx(MEASURES[name](x.double(), y), abs=1e-9)
    MEASURES[name](x, y * 1e40)


def test_matched_cosine():
    assert matched_cosine(np.eye(3), np.eye(3)) == pytest.approx(1.0)
    assert matched_cosine(np.eye(2), -np.eye(2)) == pytest.approx(-1.0)
    assert matched_cosine(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 1.0]])) == pytest.approx(0.48)
    with pytest.raises(InvalidInputError, match="equally wide"):
        matched_cosine(np.eye(3), np.eye(3)[:, :2])


@pytest.mark.parametrize("name", MEASURES)
def test_degenerate_input_is_refused(name):
    measure = MEASURES[name]
    x, y = spaces(20)
    broken = x.copy()
    broken[3, 2] = np.nan
    for bad in (broken, np.where(np.isnan(broken), np.inf, broken)):
        with pytest.raises(InvalidInputError, match="x must be finite"):
            measure(bad, y)
    with pytest.raises(InvalidInputError, match="paired"):
        measure(x[:-1], y)
    with pytest.raises(InvalidInputError, match=r"found 1|found 0"):
        measure(x[:1], y[:1])
    with pytest.raises(InvalidInputError):
        measure(x[:0], y[:0])
    with pytest.raises(InvalidInputError, match="dimension"):
        measure(x[:, 0], y)


@pytest.mark.parametrize("name", [n for n in MEASURES if not n.startswith("mutual")])
def test_a_constant_space_is_refused(name):
    _, y = spaces(20)
    with pytest.raises(InvalidInputError, match=r"vary|differ|zero vector"):
        MEASURES[name](np.full((20, 3), 0.1), y)


@pytest.mark.parametrize("name", MEASURES)
def test_a_constant_dimension_and_a_zero_vector_are_no_harm(name):
    x, y = spaces(20)
    assert np.isfinite(MEASURES[name](np.c_[x, np.full(20, 7.0)], y))
    if name not in ("rsa_correlation", "rsa_cosine"):
        x[0] = 0
        assert np.isfinite(MEASURES[name](x, y))


def test_bad_options_are_refused():
    x, y = spaces(20)
    with pytest.raises(InvalidInputError, match="bandwidth"):
        rbf_cka(x, y, bandwidth=0)
    with pytest.raises(InvalidInputError, match=r"\[1, 19\]"):
        mutual_knn(x, y, 20)
    with pytest.raises(UnknownNameError, match="cosine"):
        rsa(x, y, distance="cosin")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="variance"):
        svcca(x, y, variance=1.5)
    with pytest.raises(InvalidInputError, match="zero vector"):
        rsa(np.r_[x, np.zeros((1, 7))], np.r_[y, y[:1]], distance="cosine")


def naive_cca(x, y):
    """Canonical correlations: singular values of Cxx^-1/2 Cxy Cyy^-1/2."""
    x, y = x - x.mean(0), y - y.mean(0)

    def inverse_root(c):
        values, vectors = np.linalg.eigh(c)
        return vectors @ np.diag(values**-0.5) @ vectors.T

    left, rho, _ = np.linalg.svd(inverse_root(x.T @ x) @ x.T @ y @ inverse_root(y.T @ y), full_matrices=False)
    return x @ inverse_root(x.T @ x) @ left, rho


def test_cca_measures_have_naive_twins():
    x, y = spaces()
    variates, rho = naive_cca(x, y)
    assert svcca(x, y, variance=1.0) == pytest.approx(rho.mean(), abs=1e-9)
    weights = np.abs(variates.T @ (x - x.mean(0))).sum(1)
    assert pwcca(x, y) == pytest.approx(weights @ rho / weights.sum(), abs=1e-9)


def test_directions_that_float64_resolves_are_kept():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    y = rng.normal(size=(100, 3))
    y[:, 0] = x[:, 0]
    small = x * [1e-8, 1, 1]
    assert svcca(small, y, variance=1.0) == pytest.approx(svcca(x, y, variance=1.0))
    # Rounding of float32 is no direction.
    copies = np.c_[x, x @ rng.normal(size=(3, 3))].astype(np.float32)
    assert svcca(copies, y, variance=1.0) == pytest.approx(svcca(x, y, variance=1.0), abs=1e-4)


def test_cka_does_not_exceed_one():
    rng = np.random.default_rng(0)
    assert all(linear_cka(x, 3 * x) <= 1 for x in (rng.normal(size=(20, d)) for d in range(1, 60)))


def test_svcca_drops_directions_of_little_variance():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(200, 2)) * 10
    x, y = np.c_[shared, 0.1 * rng.normal(size=(200, 5))], np.c_[shared, 0.1 * rng.normal(size=(200, 5))]
    assert svcca(x, y, variance=0.99) > 0.999
    assert svcca(x, y, variance=1.0) < 0.6


def test_cca_needs_more_samples_than_directions():
    x, y = spaces(6, 20, 30)
    with pytest.raises(InvalidInputError, match="more samples"):
        svcca(x, y, variance=1.0)
    with pytest.raises(InvalidInputError, match="more samples"):
        pwcca(x, y)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(4, 12),
    dx=st.integers(1, 5),
    dy=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_ranges(n, dx, dy, seed, scale):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, dx)) * scale, rng.integers(-2, 3, size=(n, dy)).astype(float)
    y[0] += 1e-3 * scale
    for measure, low, high in (
        (linear_cka, 0, 1),
        (rbf_cka, 0, 1),
        (procrustes_distance, 0, 2**0.5),
        (lambda a, b: rsa(a, b, distance="euclidean"), -1, 1),
        (lambda a, b: mutual_knn(a, b, n - 2), 0, 1),
    ):
        try:
            value = measure(x, y)
        except InvalidInputError:
            continue
        assert low - 1e-9 <= value <= high + 1e-9


def test_rbf_cka_of_many_samples_takes_the_median_of_a_part():
    x, y = spaces(2100, 2, 2)
    part = np.linspace(0, 2099, 2048).astype(int)
    width = np.median(spd.pdist(x[part])), np.median(spd.pdist(y[part]))
    grams = [np.exp(-(spd.squareform(spd.pdist(z)) ** 2) / (2 * w**2)) for z, w in zip((x, y), width, strict=True)]
    centred = [g - g.mean(0) - g.mean(1, keepdims=True) + g.mean() for g in grams]
    expected = (centred[0] * centred[1]).sum() / np.linalg.norm(centred[0]) / np.linalg.norm(centred[1])
    assert rbf_cka(x, y) == pytest.approx(expected, abs=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", MEASURES)
def test_cuda_agrees_with_the_cpu(name):
    x, y = (torch.from_numpy(space) for space in spaces())
    assert MEASURES[name](x.cuda(), y.cuda()) == pytest.approx(MEASURES[name](x, y), abs=1e-9)
