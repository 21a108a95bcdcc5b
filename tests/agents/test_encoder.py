import pytest
import torch

from rlstitch.agents.cropping import Locator
from rlstitch.agents.encoder import ARCHITECTURES, WITHOUT_LINEAR, RelativeEncoder, TranslatedEncoder, build_encoder
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.latent import Translation

CNN = {"kind": "cnn", "arch": "small", "image_shape": [56, 56, 3], "latent_dim": 12}
CROP = {"kind": "crop", "image_shape": [56, 56, 3], "frames": 3, "side": 9, "latent_dim": 12}
RELATIVE = {"kind": "relative", "base": CNN, "anchors": 9, "anchor_set": "ab" * 32}


def of(arch: str) -> dict:
    return {**CNN, "arch": arch, "latent_dim": None if arch in WITHOUT_LINEAR else 12}


def translated() -> TranslatedEncoder:
    return TranslatedEncoder(build_encoder(CNN), Translation(torch.randn(12, 5), torch.randn(5), "test"))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def with_anchors(encoder: RelativeEncoder) -> RelativeEncoder:
    encoder.set_anchors(encoder.base(torch.rand(9, 3, 56, 56)).detach())
    return encoder


MAKERS = {
    **{arch: (lambda arch=arch: build_encoder(of(arch))) for arch in ARCHITECTURES},
    "relative": lambda: with_anchors(build_encoder(RELATIVE)),
    "translated": translated,
    "crop": lambda: build_encoder(CROP),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_spec_and_weights_rebuild_the_encoder(make, images):
    encoder = make()
    again = build_encoder(encoder.spec())
    again.load_state_dict(encoder.state_dict())
    assert again.latent_dim == encoder.latent_dim == encoder(images).shape[1]
    assert torch.equal(again(images), encoder(images))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_each_image_is_encoded_alone(make, images):
    encoder = make().eval()
    alone = torch.cat([encoder(image[None]) for image in images])
    torch.testing.assert_close(encoder(images), alone, rtol=1e-4, atol=1e-5)


def test_an_anchor_is_most_similar_to_itself():
    encoder = build_encoder(RELATIVE)
    anchors = torch.rand(9, 3, 56, 56)
    encoder.set_anchors(encoder.base(anchors).detach())
    similarities = encoder(anchors)
    torch.testing.assert_close(similarities.diagonal(), torch.ones(9))
    assert (similarities.argmax(dim=1) == torch.arange(9)).all()


def test_relative_representation_is_blind_to_rotation_of_the_latent_space(images):
    encoder = with_anchors(build_encoder({**RELATIVE, "normalization": "center"}))
    turned = build_encoder(encoder.spec())
    rotation = torch.linalg.qr(torch.randn(12, 12))[0]
    turned.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        turned.base.linear.weight.copy_(rotation @ encoder.base.linear.weight)
        turned.base.linear.bias.copy_(rotation @ encoder.base.linear.bias)
        turned.set_anchors(encoder.anchors @ rotation.T)
    torch.testing.assert_close(turned(images), encoder(images), rtol=1e-4, atol=1e-5)


def test_several_similarities_stand_side_by_side_each_in_its_own_units(images):
    names = ("cosine", "euclidean", "l1")
    encoder = build_encoder({**RELATIVE, "similarity": "+".join(names)})
    anchors = torch.rand(9, 3, 56, 56)
    single = [build_encoder({**RELATIVE, "similarity": name}) for name in names]
    for one in (*single, encoder):
        one.base.load_state_dict(single[0].base.state_dict())
        one.set_anchors(one.base(anchors).detach())
    expected = [one(images) / one(anchors).std() for one in single]
    assert encoder.latent_dim == 27
    torch.testing.assert_close(encoder(images), torch.cat(expected, dim=1))
    again = build_encoder(encoder.spec())
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(images), encoder(images))


def test_ridge_weights_follow_their_anchors(images):
    spec = {**RELATIVE, "similarity": "kernel_ridge", "normalization": "identity"}
    encoder, other = (with_anchors(build_encoder(spec)) for _ in range(2))
    encoder.base.load_state_dict(other.base.state_dict())
    first = encoder(images)
    assert not torch.allclose(other(images), first, atol=1e-3)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(images), first)
    assert "inverse" not in encoder.state_dict()
    encoder.set_anchors(encoder.anchors.flip(0))
    torch.testing.assert_close(encoder(images), first.flip(1), atol=1e-5, rtol=1e-4)


def test_more_anchors_than_ridge_weights_may_have_are_refused():
    with pytest.raises(InvalidInputError, match="anchors: expected at most 8,192 for kernel_ridge, found 8,193"):
        build_encoder({**RELATIVE, "similarity": "kernel_ridge", "anchors": 8193})


def test_an_unknown_one_of_several_similarities_is_named():
    with pytest.raises(UnknownNameError, match=r"'cosin'.*cosine"):
        build_encoder({**RELATIVE, "similarity": "euclidean+cosin"})


@pytest.mark.parametrize(("alpha", "share"), [(1.0, 0.0), (0.0, 1.0), (0.75, 0.25)])
def test_anchors_follow_the_encoder_by_a_moving_average(alpha, share):
    encoder = with_anchors(build_encoder(RELATIVE))
    before, fresh_images = encoder.anchors.clone(), torch.rand(9, 3, 56, 56)
    fresh = encoder.base(fresh_images).detach()
    drift = encoder.update_anchors(fresh_images, alpha)
    torch.testing.assert_close(encoder.anchors, before + share * (fresh - before))
    moved = (fresh - before).norm(dim=1).mean() / before.norm(dim=1).mean()
    assert drift == pytest.approx(share * float(moved), rel=1e-4)


def test_no_gradient_flows_into_anchors(images):
    encoder = with_anchors(build_encoder(RELATIVE))
    encoder(images).sum().backward()
    assert encoder.base.linear.weight.grad.abs().sum() > 0
    assert not any(buffer.requires_grad for buffer in encoder.buffers())


def test_wrong_number_of_anchors_is_refused():
    with pytest.raises(IncompatibleError, match=r"expected \(9, 12\).*found \(8, 12\)"):
        build_encoder(RELATIVE).set_anchors(torch.zeros(8, 12))


def test_translation_of_another_width_is_refused():
    with pytest.raises(IncompatibleError, match="width 7, the encoder gives 12"):
        TranslatedEncoder(build_encoder(CNN), Translation(torch.eye(7), torch.zeros(7), "test"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": True and "x"}, "latent_dim"),
        ({"image_shape": [4, 4, 3]}, "too few"),
        ({"image_shape": [56, 56]}, "image_shape"),
        ({"depth": 3}, "depth"),
        ({"kind": "magic"}, "magic"),
        ({"image_shape": [4096, 4096, 3]}, "expected at most 4,194,304 values"),
        ({"image_shape": [1000, 1000, 3], "latent_dim": 60000}, "parameters"),
    ],
)
def test_wrong_specifications_are_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        build_encoder({**CNN, **change})


def test_endless_nesting_is_refused():
    spec = CNN
    for _ in range(3000):
        spec = {"kind": "relative", "base": spec, "anchors": 3}
    with pytest.raises(InvalidInputError):
        build_encoder(spec)


def test_unknown_architecture_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean nature"):
        build_encoder({**CNN, "arch": "natur"})


@pytest.mark.parametrize("width", [None, 3136])
def test_the_latent_space_of_r3l_is_its_convolutions(width):
    encoder = build_encoder({"kind": "cnn", "arch": "r3l", "image_shape": [84, 84, 3], "latent_dim": width})
    assert encoder.latent_dim == encoder.spec()["latent_dim"] == 3136
    layers = [type(layer).__name__ for layer in encoder.convolutions]
    assert layers == ["Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d"]
    latents = encoder(torch.rand(4, 3, 84, 84))
    assert (latents < 0).any(), "no last ReLU"
    assert sum(p.numel() for p in encoder.parameters()) == 32 * 3 * 64 + 32 + 64 * 32 * 16 + 64 + 64 * 64 * 9 + 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "r3l", "latent_dim": 64}, r"'r3l' gives 576 for images of \(56, 56\) pixels, found 64"),
        ({"arch": "nature", "latent_dim": None}, "'nature' needs one, found none"),
        ({"kind": "relative", "base": {**CNN, "arch": "r3l"}, "anchors": 3}, "gives 576"),
    ],
)
def test_a_width_that_the_architecture_cannot_have_is_refused(change, message):
    spec = change if change.get("kind") == "relative" else {**CNN, **change}
    with pytest.raises(InvalidInputError, match=message):
        build_encoder(spec)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 7), (10, 10, 16)])
def test_small_images_of_many_channels_are_grids(shape):
    encoder = build_encoder({**CNN, "arch": "grid", "image_shape": shape})
    assert encoder(torch.rand(2, shape[2], *shape[:2])).shape == (2, 12)
    with pytest.raises(InvalidInputError, match="too few for the encoder architecture 'small'; 'grid' takes any"):
        build_encoder({**CNN, "image_shape": shape})


@pytest.mark.parametrize("arch", ["small", "nature", "r3l"])
def test_frames_that_are_encoded_alone_stand_side_by_side(arch):
    """The oracle: an encoder of one frame with the same weights."""
    width = None if arch == "r3l" else 24
    several = build_encoder({"kind": "cnn", "arch": arch, "image_shape": [48, 44, 6], "latent_dim": width, "frames": 2})
    one = build_encoder(
        {"kind": "cnn", "arch": arch, "image_shape": [48, 44, 3], "latent_dim": several.latent_dim // 2}
    )
    one.load_state_dict(several.state_dict())
    images = torch.rand(5, 6, 48, 44)
    expected = torch.cat([one(images[:, :3]), one(images[:, 3:])], dim=1)
    torch.testing.assert_close(several(images), expected)
    assert several.latent_dim == expected.shape[1]
    assert build_encoder(several.spec()).spec() == several.spec()


def test_frames_have_to_divide_channels_and_width():
    for shape, width in (([48, 48, 4], 64), ([48, 48, 6], 64)):
        with pytest.raises(InvalidInputError, match=f"frames: expected a divisor of the {shape[2]} channels"):
            build_encoder({"kind": "cnn", "image_shape": shape, "latent_dim": width, "frames": 3})


def seeing_red(spec: dict) -> Locator:
    """The locator of an encoder that looks at what is red."""
    locator = build_encoder(spec).locator
    with torch.no_grad():
        for parameter in locator.parameters():
            parameter.zero_()
        locator.attention[1].weight[0, :, 1, 1] = torch.tensor([9.0, -9.0, -9.0])
        locator.attention[3].weight[0, 0] = 9.0
    return locator


def test_squares_are_cut_around_the_object_that_is_found():
    images = torch.rand(4, 3, 40, 60) * 0.1
    corners = [(10, 20), (30, 6), (0, 0), (38, 58)]
    for image, (row, column) in zip(images, corners, strict=True):
        image[0, row : row + 2, column : column + 2] = 1.0
    locator = seeing_red({**CROP, "image_shape": [40, 60, 9]})
    places = torch.tensor(corners).flip(1) + 1
    torch.testing.assert_close(locator.mean_places(locator.pool(images)), places.float(), atol=0.1, rtol=0)
    seen = locator(images)
    torch.testing.assert_close(seen[:, :2], 2 * places / torch.tensor([60, 40]) - 1)
    squares = (seen[:, 2:].unflatten(1, (9, 9, 3)) + 2) / 4
    torch.testing.assert_close(squares[0], images[0, :, 7:16, 17:26].permute(1, 2, 0))
    edge = images[2, :, 0, 0].expand(4, 4, 3)  # beyond the border an image continues as it ends
    torch.testing.assert_close(squares[2, :4, :4], edge)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 2}, "channels that 2 frames share"),
        ({"side": 1}, "side"),
        ({"hidden": []}, "hidden"),
        ({"image_shape": [1, 56, 3]}, "two pixels a side or more"),
    ],
)
def test_squares_that_cannot_be_are_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        build_encoder({**CROP, **change})


def test_images_given_by_their_patches_have_the_same_latents(images):
    encoder = build_encoder(CNN)
    size = encoder.patch_size
    split = images.unfold(2, size, size).unfold(3, size, size)  # (N, C, h, w, s, s)
    patches, numbers = split.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).unique(dim=0, return_inverse=True)
    latents = encoder.encode_patches(patches, numbers.reshape(len(images), *split.shape[2:4]))
    torch.testing.assert_close(latents, encoder(images))
    assert size == 8
    assert build_encoder(of("nature")).patch_size == 1
    assert build_encoder({**CNN, "image_shape": (57, 56, 3)}).patch_size == 1
