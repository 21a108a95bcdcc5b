"""Tiny models of the real classes of `transformers`, written to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlstitch.modalities.libraries import quiet

SMALL: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "hidden_size": 12}


def stored(folder: Path, *parts: Any) -> Path:
    with quiet("transformers", "huggingface_hub"):
        for part in parts:
            part.save_pretrained(folder)
    return folder


def tokenizer(first: tuple[str, str] = ("[PAD]", "[UNK]")) -> Any:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = [*first, "[CLS]", "[SEP]", "the", "cat", "dog", "sat", "on", "mat", "ran", "far"]
    inner = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def tiny_bert(folder: Path) -> Path:
    """A BERT of two layers that knows twelve words and eight positions."""
    import transformers

    model = transformers.BertModel(transformers.BertConfig(vocab_size=12, max_position_embeddings=8, **SMALL))
    return stored(folder, model, tokenizer())
