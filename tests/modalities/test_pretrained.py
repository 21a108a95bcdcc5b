"""Pretrained encoders: tiny models of the real classes, written to disk and loaded the way that large ones are."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pretrained_samples import SMALL, stored, tiny_bert, tokenizer

from rlstitch.cli.main import main
from rlstitch.errors import ArtefactError, InvalidInputError, MissingExtraError
from rlstitch.storage import load_space

transformers = pytest.importorskip("transformers")

from rlstitch.modalities import pretrained  # noqa: E402
from rlstitch.modalities.items import ItemEncoder  # noqa: E402
from rlstitch.modalities.libraries import quiet, without_output  # noqa: E402
from rlstitch.modalities.pretrained import (  # noqa: E402
    load_audio_encoder,
    load_image_encoder,
    load_text_encoder,
    resample,
)

TEXTS = ["the cat", "dog sat on the mat far far", "ran", "the unknown cat"]
CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def bert(folder: Path) -> Path:
    torch.manual_seed(0)
    return tiny_bert(folder / "bert")


@pytest.fixture(scope="module")
def sentences(folder: Path, bert: Path) -> Path:
    """The same network as a folder of sentence-transformers: mean of tokens, then unit length."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with quiet("transformers", "huggingface_hub"):
        words = Transformer(str(bert))
        model = sentence_transformers.SentenceTransformer(modules=[words, Pooling(12), Normalize()], device="cpu")
        model.save(str(folder / "sentences"))
    return folder / "sentences"


@pytest.fixture(scope="module")
def vit(folder: Path) -> Path:
    torch.manual_seed(1)
    model = transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **SMALL))
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16})
    return stored(folder / "vit", model, processor)


@pytest.fixture(scope="module", params=["wav2vec2", "wav2vec2 layer", "hubert"])
def waves(request: pytest.FixtureRequest, folder: Path) -> Path:
    torch.manual_seed(2)
    norm = "layer" if "layer" in request.param else "group"
    make, config = {
        "hubert": (transformers.HubertModel, transformers.HubertConfig),
        "wav2vec2": (transformers.Wav2Vec2Model, transformers.Wav2Vec2Config),
    }[request.param.split()[0]]
    model = make(config(feat_extract_norm=norm, vocab_size=5, **SMALL, **CONVOLUTIONS))
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    return stored(folder / request.param, model, extractor)


@pytest.fixture(scope="module")
def whisper(folder: Path) -> Path:
    torch.manual_seed(3)
    config = transformers.WhisperConfig(
        vocab_size=20, d_model=12, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=24, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=24, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1, num_mel_bins=8, max_source_positions=50, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    # A second instead of thirty.
    extractor = transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=1)
    return stored(folder / "whisper", transformers.WhisperModel(config), extractor)


def one_by_one(encoder: ItemEncoder, items: list[Any]) -> NDArray[np.float32]:
    return np.concatenate([encoder.encode([item]) for item in items])


def close(result: NDArray[np.float32], expected: Any) -> None:
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.asarray(expected), rtol=1e-4, atol=1e-5)


def test_texts_are_the_mean_over_their_own_tokens(bert: Path) -> None:
    encoder = load_text_encoder(str(bert))
    model = transformers.BertModel.from_pretrained(bert).eval()
    # CLS, words, SEP, at most 8 of them; nothing is padded in a batch of one.
    ids = [[2, 4, 5, 3], [2, 6, 7, 8, 4, 9, 11, 3], [2, 10, 3], [2, 4, 1, 5, 3]]
    with torch.no_grad():
        states = [model(torch.tensor([row])).last_hidden_state[0] for row in ids]
    close(encoder.encode(TEXTS), torch.stack([each.mean(0) for each in states]))
    close(one_by_one(encoder, TEXTS), encoder.encode(TEXTS))
    first = load_text_encoder(str(bert), pooling="first")
    close(first.encode(TEXTS), torch.stack([each[0] for each in states]))


@pytest.fixture(scope="module")
def roberta(folder: Path) -> Path:
    """Its padding is token 1, so that of 10 positions the first two are no token's."""
    torch.manual_seed(4)
    config = transformers.RobertaConfig(vocab_size=12, max_position_embeddings=10, pad_token_id=1, **SMALL)
    return stored(folder / "roberta", transformers.RobertaModel(config), tokenizer(("[UNK]", "[PAD]")))


def test_texts_are_cut_to_the_positions_that_are_left_for_tokens(roberta: Path) -> None:
    model = transformers.RobertaModel.from_pretrained(roberta).eval()
    with torch.no_grad():
        states = model(torch.tensor([[2, 6, 7, 8, 4, 9, 11, 3]])).last_hidden_state[0]
    close(load_text_encoder(str(roberta)).encode(["dog sat on the mat far " + 40 * "far "]), states.mean(0)[None])


def test_so_are_those_of_a_sentence_model(roberta: Path, folder: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with quiet("transformers", "huggingface_hub"):
        modules = [Transformer(str(roberta)), Pooling(12)]
        sentence_transformers.SentenceTransformer(modules=modules, device="cpu").save(str(folder / "sentence-roberta"))
    texts = ["dog sat on the mat far " + 40 * "far ", "the cat"]
    close(
        load_text_encoder(str(folder / "sentence-roberta")).encode(texts), load_text_encoder(str(roberta)).encode(texts)
    )


@pytest.mark.parametrize(
    ("name", "before", "after", "problem"),
    [
        ("tokenizer_config.json", '"model_max_length": ', '"model_max_length": "many", "_": ', "be loaded: TypeError"),
        ("tokenizer.json", '"[SEP]": {', '"[END]": {', "encode: PanicException"),
    ],
)
def test_files_that_a_library_fails_on_are_an_error_of_one_line(
    name: str, before: str, after: str, problem: str, bert: Path, tmp_path: Path
) -> None:
    shutil.copytree(bert, tmp_path / "bert")
    file = tmp_path / "bert" / name
    content = file.read_text()
    assert before in content
    file.write_text(content.replace(before, after))
    with pytest.raises(ArtefactError, match=f"bert: cannot {problem}"):
        load_text_encoder(str(tmp_path / "bert")).encode(["the cat"])


def test_a_model_with_positions_for_no_text(folder: Path) -> None:
    config = transformers.RobertaConfig(vocab_size=12, max_position_embeddings=4, pad_token_id=1, **SMALL)
    short = stored(folder / "short", transformers.RobertaModel(config), tokenizer(("[UNK]", "[PAD]")))
    with pytest.raises(ArtefactError, match="expected positions for a text, found 2"):
        load_text_encoder(str(short))


def test_a_model_without_a_limit_takes_long_texts(folder: Path) -> None:
    """XLNet's configuration says -1."""
    config = transformers.XLNetConfig(vocab_size=12, d_model=12, n_layer=1, n_head=2, d_inner=24)
    endless = stored(folder / "xlnet", transformers.XLNetModel(config), tokenizer())
    assert load_text_encoder(str(endless)).encode([600 * "far "]).shape == (1, 12)


def test_a_sentence_model_pools_as_it_was_trained_to(sentences: Path, bert: Path) -> None:
    encoder = load_text_encoder(str(sentences))
    means = load_text_encoder(str(bert)).encode(TEXTS)
    close(encoder.encode(TEXTS), means / np.linalg.norm(means, axis=1, keepdims=True))
    close(one_by_one(encoder, TEXTS), encoder.encode(TEXTS))
    with pytest.raises(InvalidInputError, match=r"has its own \(auto\), found 'first'"):
        load_text_encoder(str(sentences), pooling="first")


@pytest.fixture(scope="module")
def pictures() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, 20, 3), dtype=np.uint8) for height in (16, 31, 3)]


def test_images_are_seen_as_the_model_wants_them(vit: Path, pictures: list[NDArray[np.uint8]]) -> None:
    from PIL import Image

    encoder = load_image_encoder(str(vit))
    model = transformers.ViTModel.from_pretrained(vit).eval()
    small = [np.asarray(Image.fromarray(p).resize((16, 16), Image.Resampling.BILINEAR)) for p in pictures]
    pixels = torch.tensor(np.stack(small)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        states = model((pixels - 0.5) / 0.5).last_hidden_state
    close(encoder.encode(pictures), states[:, 0])
    close(one_by_one(encoder, pictures), encoder.encode(pictures))
    close(load_image_encoder(str(vit), pooling="mean").encode(pictures), states.mean(1))


def test_the_command_encodes_by_it(
    vit: Path, pictures: list[NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.stack([picture[:3] for picture in pictures]))
    arguments = ["--modality", "image", "--model", str(vit), "--input", "images.npy", "-o", "x.safetensors"]
    assert main(["latent", "encode", *arguments, "--device", "cpu"]) == 0
    space = load_space("x.safetensors")
    assert (space.name, space.keys) == (str(vit), ("0", "1", "2"))
    close(space.vectors.numpy(), load_image_encoder(str(vit)).encode([picture[:3] for picture in pictures]))


def test_a_convolutional_network_gives_the_mean_over_places(folder: Path, pictures: list[NDArray[np.uint8]]) -> None:
    torch.manual_seed(4)
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")
    processor = transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875)
    path = stored(folder / "resnet", transformers.ResNetModel(config), processor)
    encoder = load_image_encoder(str(path))
    assert encoder.encode(pictures).shape == (3, 6)
    close(one_by_one(encoder, pictures), encoder.encode(pictures))
    with pytest.raises(InvalidInputError, match="no first token"):
        load_image_encoder(str(path), pooling="first").encode(pictures)


def test_a_model_with_a_text_side_gives_its_projected_images(folder: Path, pictures: list[NDArray[np.uint8]]) -> None:
    torch.manual_seed(5)
    vision = {"image_size": 16, "patch_size": 8, **SMALL}
    text = {"vocab_size": 12, **SMALL}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=7))
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    path = stored(folder / "clip", model, transformers.CLIPImageProcessorPil(**sizes))
    encoder = load_image_encoder(str(path))
    assert encoder.encode(pictures).shape == (3, 7)
    close(one_by_one(encoder, pictures), encoder.encode(pictures))
    mean = load_image_encoder(str(path), pooling="mean").encode(pictures)
    assert mean.shape == (3, 12)


@pytest.fixture(scope="module")
def sounds() -> list[tuple[NDArray[np.float32], int]]:
    rng = np.random.default_rng(0)
    lengths = ((4000, 16_000), (1500, 8000), (4000, 16_000), (9000, 16_000))
    return [(rng.normal(scale=0.1, size=n).astype(np.float32), rate) for n, rate in lengths]


def test_waves_are_never_padded(waves: Path, sounds: list[Any]) -> None:
    encoder = load_audio_encoder(str(waves))
    model = transformers.AutoModel.from_pretrained(waves).eval()
    expected = []
    for samples, rate in sounds:
        wave = resample(samples, rate, 16_000)
        ready = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        with torch.no_grad():
            expected.append(model(torch.tensor(ready)[None]).last_hidden_state[0].mean(0))
    close(encoder.encode(sounds), torch.stack(expected))
    close(one_by_one(encoder, sounds), encoder.encode(sounds))
    with pytest.raises(InvalidInputError, match="7 samples is too short"):
        encoder.encode([(np.zeros(7, np.float32), 16_000)])


def test_whisper_counts_the_frames_that_hold_sound(whisper: Path, sounds: list[Any]) -> None:
    encoder = load_audio_encoder(str(whisper))
    model = transformers.WhisperModel.from_pretrained(whisper).eval().get_encoder()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(whisper)
    expected = []
    for samples, rate in sounds:
        wave = resample(samples, rate, 16_000)
        spectrum = extractor(wave, sampling_rate=16_000, return_tensors="pt")["input_features"]
        with torch.no_grad():
            expected.append(model(spectrum).last_hidden_state[0, : -(-len(wave) // 320)].mean(0))
    close(encoder.encode(sounds), torch.stack(expected))
    close(one_by_one(encoder, sounds), encoder.encode(sounds))
    first = load_audio_encoder(str(whisper), pooling="first")
    assert first.encode(sounds).shape == (4, 12)


def test_resampling_keeps_a_tone_and_drops_what_does_not_fit() -> None:
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    up = resample(tone, 8000, 16_000)
    np.testing.assert_allclose(up[200:-200], np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)[200:-200], atol=0.01)
    high = np.sin(2 * np.pi * 7000 * np.arange(16_000) / 16_000).astype(np.float32)
    assert np.abs(resample(high, 16_000, 8000)[200:-200]).max() < 0.05
    assert resample(tone, 8000, 8000) is tone


@pytest.fixture
def copied(bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "model"))


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pickled_part(folder: Path) -> None:
    own = "sentence_transformers.models."
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{own}Transformer"}]
    modules.append({"idx": 1, "name": "1", "path": "1_Dense", "type": f"{own}Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Dense").mkdir()
    (folder / "1_Dense" / "pytorch_model.bin").write_bytes(b"")


def pickled_decoy(folder: Path) -> None:
    (folder / "PYTORCH_MODEL.BIN").write_bytes(b"")


def indexed(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def adapted(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))


def typed(kind: str, path: str = "", **config: Any) -> Callable[[Path], None]:
    """A folder of sentence-transformers with a module of this type and config."""

    def write(folder: Path) -> None:
        modules = [{"idx": 0, "name": "0", "path": path, "type": kind}]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "router_config.json").write_text(json.dumps(config))

    return write


OWN = "sentence_transformers.models.Transformer"


def cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])


def of_its_own(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('code of a model ran')")


def sentences_of_its_own(folder: Path) -> None:
    (folder / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]')
    (folder / "own.py").write_text("raise SystemExit('code of a model ran')")


def larger(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


def broken(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("{") and None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_weights, "expected weights as .safetensors, found none"),
        (pickled, "expected weights as .safetensors, found pytorch_model.bin"),
        (pickled_part, "1_Dense: expected weights as .safetensors, found pytorch_model.bin"),
        (pickled_decoy, "expected weights as .safetensors, found PYTORCH_MODEL.BIN"),
        (indexed, "expected the names of .safetensors files beside it"),
        (adapted, "expected a whole model, found adapter_config.json"),
        (typed("os.system"), "code of its own, which is never run: os.system"),
        (typed(OWN, types={"query_0": "own.Module"}), "code of its own, which is never run: own.Module"),
        (typed(OWN, activation_function="os.abort"), "code of its own, which is never run: os.abort"),
        (typed(OWN, "../other"), "names no folder within it"),
        (typed(OWN, "/tmp"), "names no folder within it"),
        (cut, "cannot be loaded"),
        (of_its_own, "cannot be loaded: it brings code of its own, which is never run"),
        (sentences_of_its_own, "cannot be loaded: it brings code of its own, which is never run"),
        (larger, "16 weights are missing, as encoder.layer.2"),
        (broken("config.json"), "cannot be loaded"),
        (broken("tokenizer.json"), "cannot be loaded"),
        (broken("modules.json"), "not usable JSON"),
    ],
)
def test_models_that_cannot_be_loaded(copied: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copied)
    with pytest.raises(ArtefactError, match=message) as caught:
        load_text_encoder(str(copied))
    assert "\n" not in str(caught.value)


def unknown_option(folder: Path) -> None:
    file = folder / "tokenizer.json"
    stored = json.loads(file.read_text())
    stored["added_tokens"][0]["\x1b[2Jerased"] = True
    file.write_text(json.dumps(stored))


def unknown_option_of_a_config(folder: Path) -> None:
    file = folder / "tokenizer_config.json"
    token = {"content": "[PAD]", "special": True, "\x1b[2Jerased": True}
    file.write_text(json.dumps({**json.loads(file.read_text()), "added_tokens_decoder": {"0": token}}))


@pytest.mark.parametrize("change", [unknown_option, unknown_option_of_a_config])
def test_nothing_of_a_file_is_printed_past_the_sanitiser(
    copied: Path, change: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    change(copied)
    print("before")
    load_text_encoder(str(copied)).encode(TEXTS)
    for descriptor in (1, 2):
        os.write(descriptor, b"after")
    assert tuple(capfd.readouterr()) == ("before\nafter", "after")


def test_output_returns_after_an_error_and_an_inner_block(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(ArtefactError), without_output():
        with without_output():
            os.write(2, b"panic")
        os.write(1, b"notice")
        raise ArtefactError("damaged")
    os.write(1, b"after")
    assert tuple(capfd.readouterr()) == ("after", "")


def test_files_of_other_libraries_are_left_alone(copied: Path) -> None:
    (copied / "openvino").mkdir()
    (copied / "openvino" / "openvino_model.bin").write_bytes(b"")
    assert load_text_encoder(str(copied)).encode(TEXTS).shape == (4, 12)


def test_a_model_of_another_kind(bert: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot be loaded"):
        load_audio_encoder(str(bert))
    with pytest.raises(ArtefactError, match="cannot be loaded"):
        load_image_encoder(str(bert))


def test_what_a_model_is_does_not_depend_on_where_it_lies(bert: Path, copied: Path) -> None:
    assert pretrained.identity(copied) == pretrained.identity(bert)
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert pretrained.identity(copied) != pretrained.identity(bert)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub, which cannot be reached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_model_of_the_hub_is_loaded_from_its_cache(hub: Path, bert: Path) -> None:
    with pytest.raises(ArtefactError, match="some/model: neither a folder, nor to be had from the") as caught:
        load_text_encoder("some/model")
    assert "\n" not in str(caught.value)
    kept = hub / "models--some--model"
    shutil.copytree(bert, kept / "snapshots" / ("0" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    by_name, here = load_text_encoder("some/model"), load_text_encoder(str(bert))
    assert (by_name.name, by_name.identity) == ("some/model", here.identity)
    close(by_name.encode(TEXTS), here.encode(TEXTS))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_path_that_is_no_folder(name: str) -> None:
    with pytest.raises(ArtefactError, match="there is no such folder"):
        load_text_encoder(name)


def test_names_that_the_hub_does_not_know(hub: Path) -> None:
    with pytest.raises(ArtefactError, match="neither a folder, nor"):
        load_text_encoder("not a name!")


def test_a_missing_extra_is_one_line(bert: Path, monkeypatch: pytest.MonkeyPatch, sentences: Path) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sentence_transformers" else find(name)
    )
    with pytest.raises(MissingExtraError, match=r"sentence-transformers needs .* pip install 'rlstitch\[pretrained\]'"):
        load_text_encoder(str(sentences))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pretrained model needs .* pip install 'rlstitch\[pretrained\]'"):
        load_text_encoder(str(bert))


def test_a_folder_of_timm(tmp_path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    try:
        import timm
    except (ImportError, RuntimeError):
        (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet10t"}))
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(MissingExtraError, match=r"rlstitch\[timm\]"):
            load_image_encoder(str(tmp_path))
        pytest.skip("timm, or the torchvision that it needs, cannot be loaded")
    timm.models.save_for_hf(timm.create_model("resnet10t"), tmp_path, safe_serialization=True)
    encoder = load_image_encoder(str(tmp_path))
    assert encoder.encode(pictures).shape == (3, 512)
    close(one_by_one(encoder, pictures), encoder.encode(pictures))
    with pytest.raises(InvalidInputError, match=r"has its own \(auto\), found 'mean'"):
        load_image_encoder(str(tmp_path), pooling="mean")
