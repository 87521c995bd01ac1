"""The recipe's steps that leave the model's depth and widths as they are, and hold fewer weights in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least
from edgekit.spec.training import Recovery

#: Ranks are multiples of this, as the kernels work.
STEP = 8


@dataclass(frozen=True)
class Share(Recovery):
    """Layers compute with each other's weights (ALBERT, Lan 2020), then recover.

    ``groups`` is how many layers' weights are left. ``order`` says which layers share them: neighbours (``sequence``:
    0 0 1 1) or every so-manieth (``cycle``: 0 1 0 1; Takase & Kiyono 2021). ``start`` says what the weights start as:
    those of the group's ``first`` layer, or the ``mean`` of all of them. The model answers no faster; it is smaller.
    """

    groups: int = 1
    order: Literal["sequence", "cycle"] = "sequence"
    start: Literal["first", "mean"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self.groups, 1, "groups")


@dataclass(frozen=True)
class Factor(Recovery):
    """Matrices become products of two narrow ones by SVD, then recover.

    ``embedding`` is the rank of the word embedding, ``attention`` of the four projections of each attention, ``ffn`` of
    the two of each feed-forward net; what is left out stays whole. ``by`` says what the products come close to:
    ``outputs`` are what the matrices answer to ``samples`` training texts (SVD-LLM, Wang 2024; the embedding's rows
    weigh as often as their token comes), ``weights`` are the matrices themselves (plain SVD).
    """

    embedding: Optional[int] = None
    attention: Optional[int] = None
    ffn: Optional[int] = None
    by: Literal["outputs", "weights"] = "outputs"
    samples: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        ranks = {name: getattr(self, name) for name in ("embedding", "attention", "ffn")}
        if not any(one is not None for one in ranks.values()):
            raise SpecError("nothing to factor", where="$", allowed=sorted(ranks), remedy="embedding: 128")
        for name, rank in ranks.items():
            if rank is not None and (rank < STEP or rank % STEP):
                raise SpecError(
                    "ranks are multiples of {}, as the kernels work".format(STEP), where="$." + name, given=rank
                )
        at_least(self.samples, 8, "samples")


@dataclass(frozen=True)
class Cluster(Recovery):
    """Each matrix holds few different numbers (deep compression, Han 2016), which then train together.

    ``values`` is how many, in every projection of the layers; ``embedding`` how many in the word embedding (left out:
    it stays). The numbers are found by k-means. No runtime here computes from codebooks: what is gained is the size of
    the file when it is compressed for transfer. A step that trains afterwards would undo it, and is refused. Zeros that
    an earlier step prune made stay zero, as one of the numbers.
    """

    values: int = 16
    embedding: Optional[int] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("values", "embedding"):
            count = getattr(self, name)
            if count is not None and not 2 <= count <= 256:
                raise SpecError(
                    "a codebook has 2 to 256 values: the index of one is a byte at most",
                    where="$." + name,
                    given=count,
                    allowed="2 to 256",
                )
        if self.average and self.epochs:
            raise SpecError(
                "the weights of a cluster move together while they train, and a mean of them would part them",
                where="$.average",
                given=self.average,
                remedy="leave average out",
            )


@dataclass(frozen=True)
class Hash(Recovery):
    """A token's vector becomes the sum of ``hashes`` rows of a table of ``buckets`` rows, which tokens share by chance
    (Weinberger 2009, Svenstrup 2017); the table starts as the least-squares fit of the trained one, then recovers."""

    buckets: int = 4096
    hashes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self.buckets, 8, "buckets")
        at_least(self.hashes, 1, "hashes")
        if self.hashes > 8:
            raise SpecError(
                "more rows a token cost more than they tell apart",
                where="$.hashes",
                given=self.hashes,
                allowed="1 to 8",
            )
