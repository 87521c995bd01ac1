"""Parts that stand in for plain projections and embeddings with fewer weights, and layers that share their weights.

:func:`rebuild` puts them into a fresh module as its structure file says, :func:`describe` reads them off a module. A
layer that computes with another one's weights *is* that layer: the stack holds it several times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgekit.errors import BuildError, MissingExtra
from edgekit.models.families import Family
from edgekit.models.structure import Codebook, Factor, Hashing, Structure

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

_MASK = (1 << 64) - 1


class _StandIn(nn.Module):  # type: ignore[misc]
    """Reads as what it stands in for: ``weight`` is the whole matrix. It cannot be replaced, for there is none."""

    weight: torch.Tensor

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        if name == "weight":
            check_plain(self)
        super().register_parameter(name, param)


def check_plain(part: Any) -> None:
    """Raise BuildError where ``part`` is factored or hashed: it has no weights of its own to cut or to zero."""
    if isinstance(part, _StandIn):
        raise BuildError(
            "this step changes single weights, rows or columns of a matrix that is factored or hashed",
            given=type(part).__name__,
            remedy="write the steps factor and hash after those that cut",
        )


def check_whole(layers: Iterable[Any], where: str, given: str, allowed: str) -> None:
    """Raise BuildError where a projection of ``layers`` is factored: the mean of factors is no factor of the mean."""
    if any(isinstance(one, FactoredLinear) for layer in layers for one in layer.modules()):
        raise BuildError(
            "the mean of factors is no factor of the mean",
            where=where,
            given=given,
            allowed=allowed,
            remedy=f"write the step factor after this one, or start: {allowed}",
        )


class FactoredLinear(_StandIn):
    """A projection through a bottleneck: ``wide(narrow(x))``, a matrix of rank ``rank``.

    Of ``in_features × out_features`` weights ``rank × (in_features + out_features)`` are left.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.narrow = nn.Linear(in_features, rank, bias=False)
        self.wide = nn.Linear(rank, out_features, bias=bias)

    @property
    def in_features(self) -> int:
        return int(self.narrow.in_features)

    @property
    def out_features(self) -> int:
        return int(self.wide.out_features)

    @property
    def rank(self) -> int:
        return int(self.narrow.out_features)

    @property
    def bias(self) -> nn.Parameter | None:
        return self.wide.bias

    @property
    def weight(self) -> torch.Tensor:
        """The product, [out, in]."""
        return self.wide.weight @ self.narrow.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[…, in] → […, out]."""
        outputs: torch.Tensor = self.wide(self.narrow(inputs))
        return outputs


class FactoredEmbedding(_StandIn):
    """A narrow table and a projection to the hidden width (ALBERT, Lan et al. 2020)."""

    def __init__(self, num_embeddings: int, embedding_dim: int, rank: int, padding_idx: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(num_embeddings, rank, padding_idx=padding_idx)
        self.projection = nn.Linear(rank, embedding_dim, bias=False)

    @property
    def num_embeddings(self) -> int:
        return int(self.table.num_embeddings)

    @property
    def embedding_dim(self) -> int:
        return int(self.projection.out_features)

    @property
    def rank(self) -> int:
        return int(self.table.embedding_dim)

    @property
    def padding_idx(self) -> int | None:
        return self.table.padding_idx  # type: ignore[no-any-return]

    @property
    def weight(self) -> torch.Tensor:
        """The product, [tokens, hidden]."""
        return self.table.weight @ self.projection.weight.T

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[…] token ids → […, hidden]."""
        vectors: torch.Tensor = self.projection(self.table(ids))
        return vectors


class HashedEmbedding(_StandIn):
    """The hashing trick (Weinberger et al. 2009; Svenstrup et al. 2017): a token's vector is the sum of the rows of
    ``table`` that its hashes name, and tokens share rows.

    Weinberger's random signs are left out: they keep sums of strangers unbiased, but this table is fitted, and shared
    rows can hold what all tokens have in common.

    ``rows`` int32 [tokens, hashes] are those places. They are kept with the weights, so that whoever reads the
    checkpoint needs no hash function, and a runtime needs only lookups.
    """

    rows: torch.Tensor

    def __init__(
        self, num_embeddings: int, embedding_dim: int, buckets: int, hashes: int, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        self.padding_idx = padding_idx
        self.table = nn.Embedding(buckets, embedding_dim)
        self.register_buffer("rows", hashed(num_embeddings, buckets, hashes))

    @property
    def num_embeddings(self) -> int:
        return int(self.rows.shape[0])

    @property
    def embedding_dim(self) -> int:
        return int(self.table.embedding_dim)

    @property
    def buckets(self) -> int:
        return int(self.table.num_embeddings)

    @property
    def hashes(self) -> int:
        return int(self.rows.shape[1])

    @property
    def weight(self) -> torch.Tensor:
        """The vectors of all tokens, [tokens, hidden]."""
        vectors: torch.Tensor = self.table(self.rows).sum(-2)
        return vectors

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[…] token ids → […, hidden]."""
        vectors: torch.Tensor = self.table(self.rows[ids]).sum(-2)
        return vectors


def hashed(tokens: int, buckets: int, hashes: int) -> torch.Tensor:
    """The rows of each token, int32 [tokens, hashes]: SplitMix64 (Steele, Lea & Flood 2014) of ``token × hashes +
    number of the hash``, modulo ``buckets``."""
    rows = [[_mixed(token * hashes + one) % buckets for one in range(hashes)] for token in range(tokens)]
    return torch.tensor(rows, dtype=torch.int32).reshape(tokens, hashes)


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@dataclass(frozen=True)
class Parts:
    """What :class:`edgekit.models.structure.Structure` says of a module's special parts; ``weights`` has one entry a
    layer: the number of the layer whose weights it computes with, ``None`` for its own."""

    factors: tuple[Factor, ...]
    hashing: Hashing | None
    codebooks: tuple[Codebook, ...]
    weights: tuple[int | None, ...]


def describe(module: Any, family: Family) -> Parts:
    """The special parts of ``module``, as they are now.

    A codebook is told only as long as it holds: training, or zeros put in, can undo it.
    """
    factors, codebooks, hashing = [], [], None
    for name, part in module.named_modules():
        if isinstance(part, FactoredLinear | FactoredEmbedding):
            factors.append(Factor(name, part.rank))
        elif isinstance(part, HashedEmbedding):
            hashing = Hashing(name, part.buckets, part.hashes)
        values = getattr(part, "codebook", None)
        if values is not None and torch.unique(part.weight.detach()).numel() <= values:
            codebooks.append(Codebook(f"{name}.weight", values))
    layers = list(family.layers(module))
    first: dict[int, int] = {}
    weights = [first.setdefault(id(one), number) for number, one in enumerate(layers)]
    own = tuple(None if one == number else one for number, one in enumerate(weights))
    return Parts(tuple(factors), hashing, tuple(codebooks), own)


def rebuild(module: Any, family: Family, structure: Structure) -> None:
    """Give ``module``, whose layers have their heads and widths already, its special parts, in place.

    Their weights are to be loaded afterwards. Raises BuildError where the module has no part of a name.
    """
    weights = [number if one.weights is None else one.weights for number, one in enumerate(structure.layers)]
    if weights != list(range(len(weights))):
        share(module, family, weights)
    for factor in structure.factors:
        put(module, factor.name, factored(part(module, factor.name), factor.rank))
    if structure.hashing is not None:
        table, hashing = part(module, structure.hashing.name), structure.hashing
        put(
            module,
            hashing.name,
            HashedEmbedding(
                table.num_embeddings, table.embedding_dim, hashing.buckets, hashing.hashes, table.padding_idx
            ),
        )
    for codebook in structure.codebooks:
        mark(part(module, codebook.name.removesuffix(".weight")), codebook.values)


def share(module: Any, family: Family, weights: list[int]) -> None:
    """Layer number *n* becomes layer ``weights[n]``, in place: the stack holds one layer at several places."""
    layers = list(family.layers(module))
    family.set_layers(module, [layers[one] for one in weights])
    if getattr(module.config, "use_cache", False):
        # a decoder keeps its past by the layer's number, and a shared layer has but one
        module.config.use_cache = False


def factored(plain: Any, rank: int) -> FactoredLinear | FactoredEmbedding:
    """A part of ``rank`` that can stand in for ``plain``; its weights are not yet set.

    Raises BuildError for what is neither a plain projection nor a plain embedding.
    """
    if isinstance(plain, nn.Linear):
        return FactoredLinear(plain.in_features, plain.out_features, rank, plain.bias is not None)
    if isinstance(plain, nn.Embedding):
        return FactoredEmbedding(plain.num_embeddings, plain.embedding_dim, rank, plain.padding_idx)
    raise BuildError(
        "only a plain projection or embedding can be factored",
        given=type(plain).__name__,
        remedy="factor it once, and not after hashing",
    )


def mark(part: Any, values: int) -> None:
    """Say that the weight of ``part`` holds no more than ``values`` different numbers."""
    part.codebook = values


def part(module: Any, name: str) -> Any:
    """The part with the dotted ``name``. Raises BuildError where there is none."""
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        raise BuildError("the module has no part of this name", given=name) from error


def put(module: Any, name: str, new: nn.Module) -> None:
    """Replace the part with the dotted ``name``."""
    holder, _, own = name.rpartition(".")
    setattr(part(module, holder), own, new)
