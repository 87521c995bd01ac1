"""A checkpoint folder ↔ an ``nn.Module``.

The folder holds ``config.json``, ``model.safetensors`` under transformers' own names, ``tokenizer.json`` and
``edgekit.json`` (:class:`edgekit.models.structure.Structure`). A folder without ``edgekit.json`` is a plain Hugging
Face model and loads as well. Weights are safetensors only: a pickle can run code, and is never opened.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError, MissingExtra, SpecError
from edgekit.models import families, parts
from edgekit.models import grid as grids
from edgekit.models.families import Family
from edgekit.models.grid import Grid
from edgekit.models.structure import FILE, Layer, Structure
from edgekit.models.tokenizer import check, unpadded
from edgekit.spec import codec
from edgekit.spec.task import CLASSIFY, EMBED, LANGUAGE, NATURES, TOKENS, Pooling, Task

try:
    import torch
    import transformers
    from optimum.utils import NormalizedConfigManager
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file
    from torch import nn

    from edgekit.models.embedder import Embedder
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
#: What transformers builds of a config, by what the model is for.
MODELS: dict[Task, Any] = {
    CLASSIFY: transformers.AutoModelForSequenceClassification,
    LANGUAGE: transformers.AutoModelForCausalLM,
    TOKENS: transformers.AutoModelForTokenClassification,
    EMBED: Embedder,
}


@dataclass
class Checkpoint:
    """A loaded folder. ``module`` maps ``input_ids`` and ``attention_mask`` [batch, length] to logits [batch, classes],
    or where its ``task`` answers by token, [batch, length, classes] (of a language model, whose ``labels`` are empty,
    [batch, length, vocabulary]), or where it embeds texts to vectors [batch, hidden]; in float32 and evaluation mode.
    ``tokenizer`` is the text of tokenizer.json. ``grid`` is what quantization-aware training left; it is not saved once
    the weights it belongs to have changed."""

    module: Any
    family: Family
    labels: tuple[str, ...]
    teacher_layers: tuple[int, ...]
    tokenizer: str
    grid: Grid | None = None
    task: Task = CLASSIFY

    @property
    def structure(self) -> Structure:
        """The module's structure, as it is now."""
        found = parts.describe(self.module, self.family)
        return Structure(
            family=self.family.name,
            labels=self.labels,
            layers=tuple(
                Layer(
                    heads=self.family.attention(layer).query.out_features // self.family.head_size(self.module),
                    ffn=self.family.feed_forward(layer).up.out_features,
                    weights=weights,
                )
                for layer, weights in zip(self.family.layers(self.module), found.weights, strict=True)
            ),
            head_size=self.family.head_size(self.module),
            hidden=_sizes(self.module.config).hidden_size,
            vocabulary=self.family.word_embedding(self.module).num_embeddings,
            teacher_layers=self.teacher_layers,
            factors=found.factors,
            hashing=found.hashing,
            codebooks=found.codebooks,
            pooled=_pooled(self.module, self.family),
            task=self.task,
        )

    @property
    def parameters(self) -> int:
        return sum(one.numel() for one in self.module.parameters())


def load(
    folder: Path, labels: Sequence[str] = (), task: Task | None = None, pooling: Pooling | None = None
) -> Checkpoint:
    """Load a checkpoint folder, or a plain Hugging Face folder.

    Args:
        labels: the classes it must have. A plain folder that was not trained for them gets a new classifier, from the
            global random state. Without, a plain folder keeps the classes of its config.
        task: what it must be for. A plain folder does not say, and is a classifier where this does not either.
        pooling: how a plain folder is to pool its tokens to a text's embedding, instead of as it says itself.

    Raises BuildError where files are missing or damaged, the family is unknown or has no language models, task or
    classes differ, or the tokenizer has tokens that the model does not know.
    """
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / name).is_file():
            raise BuildError(
                f"not a checkpoint folder: {name} is missing", where=str(folder), allowed=[CONFIG, WEIGHTS, TOKENIZER]
            )
    try:
        tokenizer = (folder / TOKENIZER).read_text("utf-8")
        if (folder / FILE).is_file():
            found = _on_grid(_load_structured(folder, tokenizer, tuple(labels), task), folder)
        else:
            found = _load_plain(folder, tokenizer, tuple(labels), task or CLASSIFY, pooling)
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BuildError(f"the checkpoint cannot be loaded: {reason}", where=str(folder)) from error
    check(tokenizer, found.family.word_embedding(found.module).num_embeddings, str(folder / TOKENIZER))
    return found


def read_structure(folder: Path) -> Structure:
    """The structure file alone, without torch's weights. Raises BuildError where there is none."""
    try:
        return codec.loads(Structure, (folder / FILE).read_text("utf-8"), where=str(folder / FILE))
    except OSError as error:
        raise BuildError("no structure file", where=str(folder / FILE)) from error
    except SpecError as error:
        raise BuildError(error.message, where=error.where, given=error.given, allowed=error.allowed) from error


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the folder whole or not at all; what stood there is replaced."""
    structure = checkpoint.structure
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = checkpoint.family.stored(_once(checkpoint.module.state_dict()))
    weights = {name: one.detach().contiguous() for name, one in weights.items()}
    save_file(weights, temporary / WEIGHTS, metadata={"format": "pt"})
    (temporary / CONFIG).write_text(_config_text(checkpoint, structure), "utf-8")
    (temporary / TOKENIZER).write_text(unpadded(checkpoint.tokenizer), "utf-8")
    (temporary / FILE).write_text(json.dumps(codec.encode(structure), indent=1, ensure_ascii=False) + "\n", "utf-8")
    if checkpoint.grid is not None and checkpoint.grid.fits(checkpoint.module):
        grids.write(checkpoint.grid, temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def fingerprint(checkpoint: Checkpoint) -> str:
    """SHA-256 (hex) over structure and weights: whether a kept state belongs to this very model."""
    digest = hashlib.sha256(codec.dumps(checkpoint.structure).encode())
    for name, one in checkpoint.module.state_dict().items():
        digest.update(name.encode())
        digest.update(one.detach().contiguous().numpy().data)
    return digest.hexdigest()


def shape(family: Family, module: Any, layers: Sequence[Layer], head_size: int | None = None) -> None:
    """Give the layers of ``module`` their heads (of ``head_size``, else the size they have) and widths, in place; the
    new weights are uninitialized."""
    size = head_size or family.head_size(module)
    for layer, wanted in zip(family.layers(module), layers, strict=True):
        attention, feed_forward = family.attention(layer), family.feed_forward(layer)
        for one in (attention.query, attention.key, attention.value):
            resize(one, rows=wanted.heads * size)
        resize(attention.output, columns=wanted.heads * size)
        resize(feed_forward.up, rows=wanted.ffn)
        resize(feed_forward.down, columns=wanted.ffn)
        family.set_heads(layer, wanted.heads, size)


def resize(linear: nn.Linear, rows: int | None = None, columns: int | None = None) -> None:
    """Replace a projection's weights by uninitialized ones of another size, in place."""
    rows, columns = rows or linear.out_features, columns or linear.in_features
    if (rows, columns) == (linear.out_features, linear.in_features):
        return
    linear.weight = nn.Parameter(torch.empty(rows, columns))
    if linear.bias is not None and rows != linear.out_features:
        linear.bias = nn.Parameter(torch.empty(rows))
    linear.out_features, linear.in_features = rows, columns


def _load_structured(folder: Path, tokenizer: str, labels: tuple[str, ...], task: Task | None) -> Checkpoint:
    structure = read_structure(folder)
    if task not in (None, structure.task):
        raise BuildError(
            "the checkpoint is for another task",
            where=str(folder),
            given=structure.task,
            allowed=task,
            remedy="start from the plain model it was made of, or change the recipe's task",
        )
    if labels and labels != structure.labels:
        raise BuildError(
            "the checkpoint was trained for other labels", where=str(folder), given=labels, allowed=structure.labels
        )
    family = families.of(structure.family)
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    heads = _sizes(config).num_attention_heads
    # transformers wants heads that divide the hidden width; how many there are, and of which size, ``shape`` says
    config.num_attention_heads = 1
    module = MODELS[structure.task].from_config(config, dtype=torch.float32)
    module.config.num_attention_heads = heads
    family.prepare(module)
    shape(family, module, structure.layers, structure.head_size)
    head = family.head(module)
    if structure.pooled is not None and head.dense is not None:
        resize(head.dense, rows=structure.pooled)
        resize(head.classifier, columns=structure.pooled)
    parts.rebuild(module, family, structure)
    _fill(module, family.restored(load_file(folder / WEIGHTS)))
    return Checkpoint(module.eval(), family, structure.labels, structure.teacher_layers, tokenizer, task=structure.task)


def _pooled(module: Any, family: Family) -> int | None:
    """The width between the classifier's two projections, where it is not the hidden width."""
    dense = family.head(module).dense
    if dense is None or dense.out_features == _sizes(module.config).hidden_size:
        return None
    return int(dense.out_features)


def _on_grid(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """With the grid in the folder, if there is one. Raises BuildError where it belongs to other weights."""
    checkpoint.grid = grids.read(folder)
    if checkpoint.grid is not None and not checkpoint.grid.fits(checkpoint.module):
        raise BuildError(
            "its ranges were learned with other weights",
            where=str(folder / grids.FILE),
            remedy="delete the file: conversion then calibrates",
        )
    return checkpoint


def _once(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under their first names only: those of a layer that stands in the stack again are left out."""
    first: dict[tuple[int, torch.Size], str] = {}
    return {name: one for name, one in state.items() if first.setdefault((one.data_ptr(), one.shape), name) == name}


def _fill(module: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Load the weights of a file, each once. Raises RuntimeError where one is missing, left over or of other shape."""
    module.load_state_dict({**module.state_dict(), **state})
    missing = set(_once(module.state_dict())) - set(state)
    if missing:
        raise RuntimeError(f"the weight {min(missing)} is missing")


def _load_plain(
    folder: Path, tokenizer: str, labels: tuple[str, ...], task: Task, pooling: Pooling | None
) -> Checkpoint:
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if pooling is not None:
        config.pooling = pooling
    family = families.of(config.model_type)
    if task == LANGUAGE:
        _check_causal(family)
    if type(config) not in MODELS[task]._model_mapping:
        raise BuildError("there are no such models of this family", where="$.task", given=f"{task} with {family.name}")
    own: tuple[str, ...] = ()
    if NATURES[task].labelled:
        own = tuple(str(config.id2label[number]) for number in sorted(config.id2label))
    if labels and labels != own:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    level = transformers.logging.get_verbosity()
    # a new classifier is what is wanted here, no news to warn of
    transformers.logging.set_verbosity_error()
    progress = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        module = MODELS[task].from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
        )
    finally:
        transformers.logging.set_verbosity(level)
        if progress:
            transformers.utils.logging.enable_progress_bar()
    for one in module.parameters():
        # out of the mapped file: unaligned memory takes other kernels, whose sums differ in the last bit
        one.data = one.data.clone()
    family.prepare(module)
    teacher_layers = tuple(range(len(family.layers(module))))
    return Checkpoint(module.eval(), family, labels or own, teacher_layers, tokenizer, task=task)


def _check_causal(family: Family) -> None:
    if not family.causal:
        raise BuildError(
            "a model of this family sees the next token, and cannot learn to tell it",
            where="$.task",
            given=family.name,
            allowed=sorted(name for name, one in families.FAMILIES.items() if one.causal),
            remedy="take a decoder, or task: classify",
        )


def _sizes(config: Any) -> Any:
    """The sizes in a config, under one name for every family (Optimum's normalized configs)."""
    return NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)


def _config_text(checkpoint: Checkpoint, structure: Structure) -> str:
    config = checkpoint.module.config
    # so that a checkpoint of even widths and whole heads loads as a plain Hugging Face folder, too
    widths, heads = {one.ffn for one in structure.layers}, {one.heads for one in structure.layers}
    if len(widths) == 1:
        setattr(config, checkpoint.family.feed_forward_width, widths.pop())
    if heads == {structure.hidden // structure.head_size}:
        config.num_attention_heads = heads.pop()
    values = config.to_dict()
    for key in ("_name_or_path", "transformers_version"):
        values.pop(key, None)
    plain = checkpoint.module.encoder if checkpoint.task == EMBED else checkpoint.module
    values["architectures"] = [type(plain).__name__]
    if NATURES[checkpoint.task].labelled:
        values["id2label"] = {str(number): label for number, label in enumerate(checkpoint.labels)}
        values["label2id"] = {label: number for number, label in enumerate(checkpoint.labels)}
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"
