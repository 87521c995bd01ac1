"""What a model is for: it tells the class of a text (``classify``), the next token after any beginning of one
(``language``), what each word of it is a part of (``tokens``), or where among others it stands (``embed``).

Code asks a task's :class:`Nature`; it names a task only for what that one alone has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, Literal

from edgekit.errors import DataError

Task = Literal["classify", "language", "tokens", "embed"]
CLASSIFY: Task = "classify"
LANGUAGE: Task = "language"
TOKENS: Task = "tokens"
EMBED: Task = "embed"
#: How an embedding is made of its tokens' states: their mean, or the first one.
Pooling = Literal["mean", "first"]
MEAN: Pooling = "mean"
FIRST: Pooling = "first"
#: The exponent from which e to its power is no number any more.
_MOST = 700.0


@dataclass(frozen=True)
class Nature:
    """What a task's logits are: a row for each token where it answers ``by_token``, else one a text. Where it is
    ``labelled``, a row's columns are the labels of its data."""

    by_token: bool
    labelled: bool

    @property
    def reads_all(self) -> bool:
        """Whether an answer is made of all tokens' last states: a text's label is told by one of them."""
        return self.by_token or not self.labelled


NATURES: Dict[Task, Nature] = {
    CLASSIFY: Nature(by_token=False, labelled=True),
    LANGUAGE: Nature(by_token=True, labelled=False),
    TOKENS: Nature(by_token=True, labelled=True),
    EMBED: Nature(by_token=False, labelled=False),
}


@dataclass(frozen=True)
class NextTokens:
    """How well each token of some texts was told by those before it; a text's first token has none before it.

    Of ``tokens`` told, ``hits`` were the likeliest one; ``nll`` is the sum of their negative log-likelihoods, in nats.
    """

    hits: int
    tokens: int
    nll: float

    @property
    def accuracy(self) -> float:
        """Per cent of tokens that were the likeliest one; 0 where no text has two tokens."""
        return 100.0 * self.hits / self.tokens if self.tokens else 0.0

    @property
    def loss(self) -> float:
        """The mean negative log-likelihood of a token, in nats. Raises DataError where no text has two tokens."""
        if not self.tokens:
            raise DataError(
                "no text has two tokens: nothing comes next that could be told",
                where="$.data",
                remedy="bring texts of several words, one a line, and lengths of 2 or more",
            )
        return self.nll / self.tokens

    @property
    def perplexity(self) -> float:
        """e to the ``loss``: among how many equally likely tokens each was guessed."""
        return math.exp(min(self.loss, _MOST))
