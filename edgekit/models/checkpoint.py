"""A checkpoint folder ↔ an ``nn.Module``.

The folder holds ``config.json``, ``model.safetensors`` under transformers' own names, ``tokenizer.json`` and
``edgekit.json`` (:class:`edgekit.models.structure.Structure`). A folder without ``edgekit.json`` is a plain Hugging
Face model and loads as well. Weights are safetensors only: a pickle can run code, and is never opened.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError, MissingExtra, SpecError
from edgekit.models import families
from edgekit.models.families import Family
from edgekit.models.structure import FILE, Layer, Structure
from edgekit.spec import codec

try:
    import torch
    import transformers
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"


@dataclass
class Checkpoint:
    """A loaded folder. ``module`` maps ``input_ids`` and ``attention_mask`` [batch, length] to logits [batch, classes],
    in float32 and evaluation mode; ``tokenizer`` is the text of tokenizer.json."""

    module: Any
    family: Family
    labels: tuple[str, ...]
    teacher_layers: tuple[int, ...]
    tokenizer: str

    @property
    def structure(self) -> Structure:
        """The module's structure, as it is now."""
        size = self.family.head_size(self.module)
        layers = list(self.family.layers(self.module))
        return Structure(
            family=self.family.name,
            labels=self.labels,
            layers=tuple(
                Layer(
                    heads=self.family.attention(one).query.out_features // size,
                    ffn=self.family.feed_forward(one).up.out_features,
                )
                for one in layers
            ),
            head_size=size,
            hidden=self.module.config.hidden_size,
            vocabulary=self.family.word_embedding(self.module).num_embeddings,
            teacher_layers=self.teacher_layers,
        )

    @property
    def parameters(self) -> int:
        return sum(one.numel() for one in self.module.parameters())


def load(folder: Path, labels: Sequence[str] = ()) -> Checkpoint:
    """Load a checkpoint folder, or a plain Hugging Face folder.

    Args:
        labels: the classes it must have. A plain folder that was not trained for them gets a new classifier, from the
            global random state. Without, a plain folder keeps the classes of its config.

    Raises BuildError where files are missing or damaged, the family is unknown, or the classes differ.
    """
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / name).is_file():
            raise BuildError(
                f"not a checkpoint folder: {name} is missing", where=str(folder), allowed=[CONFIG, WEIGHTS, TOKENIZER]
            )
    try:
        tokenizer = (folder / TOKENIZER).read_text("utf-8")
        if (folder / FILE).is_file():
            return _load_structured(folder, tokenizer, tuple(labels))
        return _load_plain(folder, tokenizer, tuple(labels))
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BuildError(f"the checkpoint cannot be loaded: {reason}", where=str(folder)) from error


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
    weights = {name: one.detach().contiguous() for name, one in checkpoint.module.state_dict().items()}
    save_file(weights, temporary / WEIGHTS, metadata={"format": "pt"})
    (temporary / CONFIG).write_text(_config_text(checkpoint, structure), "utf-8")
    (temporary / TOKENIZER).write_text(_unpadded(checkpoint.tokenizer), "utf-8")
    (temporary / FILE).write_text(json.dumps(codec.encode(structure), indent=1, ensure_ascii=False) + "\n", "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def fingerprint(checkpoint: Checkpoint) -> str:
    """SHA-256 (hex) over structure and weights: whether a kept state belongs to this very model."""
    digest = hashlib.sha256(codec.dumps(checkpoint.structure).encode())
    for name, one in checkpoint.module.state_dict().items():
        digest.update(name.encode())
        digest.update(one.detach().contiguous().numpy().data)
    return digest.hexdigest()


def shape(family: Family, module: Any, layers: Sequence[Layer]) -> None:
    """Give the layers of ``module`` their heads and widths, in place; the new weights are uninitialized."""
    size = family.head_size(module)
    for layer, wanted in zip(family.layers(module), layers, strict=True):
        attention, feed_forward = family.attention(layer), family.feed_forward(layer)
        for one in (attention.query, attention.key, attention.value):
            resize(one, rows=wanted.heads * size)
        resize(attention.output, columns=wanted.heads * size)
        resize(feed_forward.up, rows=wanted.ffn)
        resize(feed_forward.down, columns=wanted.ffn)
        family.set_heads(layer, wanted.heads)


def resize(linear: nn.Linear, rows: int | None = None, columns: int | None = None) -> None:
    """Replace a projection's weights by uninitialized ones of another size, in place."""
    rows, columns = rows or linear.out_features, columns or linear.in_features
    if (rows, columns) == (linear.out_features, linear.in_features):
        return
    linear.weight = nn.Parameter(torch.empty(rows, columns))
    if linear.bias is not None and rows != linear.out_features:
        linear.bias = nn.Parameter(torch.empty(rows))
    linear.out_features, linear.in_features = rows, columns


def _load_structured(folder: Path, tokenizer: str, labels: tuple[str, ...]) -> Checkpoint:
    structure = read_structure(folder)
    if labels and labels != structure.labels:
        raise BuildError(
            "the checkpoint was trained for other labels", where=str(folder), given=labels, allowed=structure.labels
        )
    family = families.of(structure.family)
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    module = transformers.AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    shape(family, module, structure.layers)
    module.load_state_dict(load_file(folder / WEIGHTS))
    return Checkpoint(module.eval(), family, structure.labels, structure.teacher_layers, tokenizer)


def _load_plain(folder: Path, tokenizer: str, labels: tuple[str, ...]) -> Checkpoint:
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    family = families.of(config.model_type)
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
        module = transformers.AutoModelForSequenceClassification.from_pretrained(
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
    return Checkpoint(module.eval(), family, labels or own, tuple(range(config.num_hidden_layers)), tokenizer)


def _config_text(checkpoint: Checkpoint, structure: Structure) -> str:
    config = checkpoint.module.config
    widths = {one.ffn for one in structure.layers}
    if len(widths) == 1:
        # so that a checkpoint of even width and whole heads loads as a plain Hugging Face folder, too
        config.intermediate_size = widths.pop()
    values = config.to_dict()
    for key in ("_name_or_path", "transformers_version"):
        values.pop(key, None)
    values["architectures"] = [type(checkpoint.module).__name__]
    values["id2label"] = {str(number): label for number, label in enumerate(checkpoint.labels)}
    values["label2id"] = {label: number for number, label in enumerate(checkpoint.labels)}
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"


def _unpadded(tokenizer: str) -> str:
    """tokenizer.json without padding and truncation of its own: those belong to the length buckets."""
    values = json.loads(tokenizer)
    values["padding"] = values["truncation"] = None
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
