"""What every step that trains is told: how long, how fast, in which precision, and by which losses."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Dict, Literal, Optional, Tuple

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least, within

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Training:
    """``epochs`` at most, in batches of ``batch`` texts; AdamW's ``learning_rate`` rises for ``warmup`` (a share of all
    steps) and falls to 0. ``weight_decay`` is AdamW's, of matrices only. ``accumulate`` batches make one step of the
    optimizer, as if they were one big batch. ``patience`` is how many epochs may bring no better validation before
    training stops. ``precision`` is what products are computed in, weights and optimizer stay float32: bfloat16 pays
    on GPUs and on CPUs that multiply in it (AMX, AVX512-BF16, ARMv8.6), float16 is for GPUs only. ``betas`` are how
    much of AdamW's two means (of gradients, and of their squares) stays at each step. ``average`` is how much stays, at
    each step, of an exponential mean of the weights (after Polyak & Juditsky 1992), which is then what epochs are
    judged by and what is kept; 0 keeps the weights themselves. ``seed`` seeds this training instead of the recipe's
    seed, which also decides how the texts are split."""

    epochs: int = 3
    learning_rate: float = 1e-4
    batch: int = 32
    accumulate: int = 1
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: int = 3
    precision: Precision = "float32"
    betas: Tuple[float, ...] = (0.9, 0.999)
    average: float = 0.0
    seed: Optional[int] = None

    def __post_init__(self) -> None:
        at_least(self.epochs, self._fewest_epochs(), "epochs")
        at_least(self.batch, 1, "batch")
        at_least(self.accumulate, 1, "accumulate")
        within(self.learning_rate, 1e-8, 1.0, "learning_rate")
        within(self.warmup, 0.0, 0.9, "warmup")
        at_least(self.weight_decay, 0.0, "weight_decay")
        at_least(self.patience, 1, "patience")
        if len(self.betas) != 2 or not all(0.0 <= one < 1.0 for one in self.betas):
            raise SpecError(
                "AdamW has two betas", where="$.betas", given=list(self.betas), allowed="two numbers from 0 to below 1"
            )
        within(self.average, 0.0, 0.99999, "average")

    def _fewest_epochs(self) -> int:
        return 1


@dataclass(frozen=True)
class Losses:
    """The weights of a sum of losses; 0 leaves one out. All but ``label`` can be learned from texts without labels.

    ``label`` is cross-entropy with the label. ``logits`` is T²·KL from the teachers' mean logits (Hinton 2015).
    ``hidden`` is the squared distance of hidden states, through a learned projection where widths differ (TinyBERT,
    Jiao 2020). ``attention`` is KL between attention maps (MobileBERT, Sun 2020), between their means over the heads
    where the counts of heads differ. ``relations`` is KL between query-query, key-key and value-value relations
    (MiniLMv2, Wang 2021). ``self`` has auxiliary classifiers on the shallower layers learn the deepest one's logits
    (be your own teacher, Zhang 2019). ``snapshot`` has an earlier snapshot of the student, the mean of its past
    weights, teach it its logits (mean teacher, Tarvainen 2017). ``fold`` has each layer learn what its group of
    teacher layers makes of the teacher's own hidden states. ``embedding`` is 1 - cosine of the texts' mean hidden
    states: it needs neither labels nor a classifier.
    """

    label: float = 0.3
    logits: float = 1.0
    hidden: float = 0.0
    attention: float = 0.0
    relations: float = 0.0
    self: float = 0.0
    snapshot: float = 0.0
    fold: float = 0.0
    embedding: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in self.weights().items():
            at_least(weight, 0.0, name)
        if not self.active:
            raise SpecError("all loss weights are 0: nothing would be learned", where="$.logits")

    def weights(self) -> Dict[str, float]:
        """Each loss's weight by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def active(self) -> Tuple[str, ...]:
        """The losses that are learned."""
        return tuple(name for name, weight in self.weights().items() if weight)

    @property
    def classify(self) -> bool:
        """Whether student and teacher must know the same labels."""
        return bool({"label", "logits"} & set(self.active))


@dataclass(frozen=True)
class Learning(Training):
    """Training from the teacher, which is the model that the last ``finetune`` left: ``losses`` are summed with their
    weights, ``temperature`` T softens both sides' logits.

    ``relation_heads`` is into how many heads queries, keys and values are split for the relations (left out: as many
    as the teacher's heads and both widths allow), ``relation_layer`` the teacher's layer, from 0, whose relations the
    student's last layer learns (left out: the last). ``snapshot_decay`` is how much of the snapshot stays at each
    step. ``augment`` changed copies of each training text are learned from the teacher as well: spliced with another
    text, cut to a span, or with words dropped and replaced.
    """

    learning_rate: float = 3e-4
    losses: Losses = field(default_factory=Losses)
    temperature: float = 2.0
    relation_heads: Optional[int] = None
    relation_layer: Optional[int] = None
    snapshot_decay: float = 0.99
    augment: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self.temperature, 0.1, 100, "temperature")
        within(self.snapshot_decay, 0.0, 0.99999, "snapshot_decay")
        at_least(self.augment, 0, "augment")
        for name in ("relation_heads", "relation_layer"):
            if getattr(self, name) is not None:
                at_least(getattr(self, name), 1 if name == "relation_heads" else 0, name)
                if not self.losses.relations:
                    raise SpecError(
                        "this is about a loss that has no weight",
                        where="$." + name,
                        remedy="give losses.relations a weight, or leave it out",
                    )
        if self.augment and self.losses.active == ("label",):
            raise SpecError(
                "changed texts have no label, and label is the only loss",
                where="$.augment",
                given=self.augment,
                remedy="give losses.logits a weight, or leave augment out",
            )


@dataclass(frozen=True)
class Recovery(Learning):
    """Learning after a change that cost accuracy; ``epochs`` 0 leaves the changed model as it is."""

    epochs: int = 1
    learning_rate: float = 2e-4

    def _fewest_epochs(self) -> int:
        return 0
