"""From a trained pico network to what a release carries: an INT8 CTranslate2 model folder and a tokenizer file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ctranslate2.specs import common_spec, transformer_spec
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from edge_ota.train.pico import Pico


def save_int8(network: Pico, vocabulary: Sequence[str], folder: Path) -> None:
    """Write `model.bin`, `config.json` and `vocabulary.json` for `ctranslate2.Generator` into `folder`, weights as INT8."""
    shape = network.shape
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        shape.layers,
        shape.heads,
        activation=common_spec.Activation.SWISH,
        pre_norm=True,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=0,
        rotary_interleave=False,
        rotary_base=shape.rotary_base,
    )
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = _array(network.embedding.weight)
    decoder.projection.weight = _array(network.embedding.weight)
    decoder.layer_norm.gamma = _array(network.norm.weight)
    for layer, block in zip(decoder.layer, network.blocks, strict=True):
        layer.self_attention.layer_norm.gamma = _array(block.before_attention.weight)
        layer.self_attention.linear[0].weight = _array(block.query_key_value.weight)
        layer.self_attention.linear[1].weight = _array(block.attended.weight)
        layer.ffn.layer_norm.gamma = _array(block.before_inner.weight)
        layer.ffn.linear_0.weight = _array(block.gate.weight)
        layer.ffn.linear_0_noact.weight = _array(block.up.weight)
        layer.ffn.linear_1.weight = _array(block.down.weight)
    spec.config.layer_norm_epsilon = shape.norm_epsilon
    spec.register_vocabulary(list(vocabulary))
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


def save_tokenizer(vocabulary: Sequence[str], path: Path) -> None:
    """Write a word-level `tokenizer.json`: one piece a word, a stop, a slot or a control, split at blanks."""
    numbers = {piece: number for number, piece in enumerate(vocabulary)}
    if len(numbers) != len(vocabulary):
        raise ValueError("the vocabulary holds a piece twice")
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path.write_text(json.dumps(json.loads(tokenizer.to_str()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _array(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.ascontiguousarray(tensor.detach().numpy().astype(np.float32))
