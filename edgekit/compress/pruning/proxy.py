"""Importance decoupled from the model and its data: a regression that looks at a unit's weights and at nothing else.

That importance can be told from weights alone, by something trained elsewhere, is the idea of PruneNet (Sengupta,
Chaudhary & Chakraborty 2025), which learns a policy. Here it is a linear model of five statistics, standardized within
a group so that they mean the same in any model. ``FITTED`` is ridge regression to the logarithm of Taylor importance
(1,024 texts) of all units of one model: MiniLM (6 layers, 12 heads, 1,536 neurons) fine-tuned on Debian sections.

It is a weak measure, and free: on a layer left out of the fit its rank correlation with Taylor importance was 0.54 for
heads (magnitude's: 0.33) and 0.16 for neurons (magnitude's: -0.09), means of six layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cosine_similarity, normalize

from edgekit.compress.pruning.groups import Group

#: How strongly the fit is held back, for each unit fitted.
RIDGE = 0.1
_SMALL = 1e-12

#: Of each kind, the weight of each of the ``features``, in their order.
FITTED: dict[str, tuple[float, ...]] = {
    "heads": (0.1994, 0.1827, 0.3145, 0.2778, 0.171),
    "ffn": (0.0087, -0.0561, 0.0168, 0.0126, 0.212),
}


def scores(group: Group) -> torch.Tensor:
    """The score of each unit, [units]: what ``FITTED`` makes of its features.

    A unit that nothing makes, or nobody reads, cannot matter: it comes last whatever the regression says.
    """
    found = features(group) @ torch.tensor(FITTED[group.kind])
    made, read = _made(group).norm(dim=1), _read(group).norm(dim=1)
    return torch.where((made > 0) & (read > 0), found, found.min() - 1)


def features(group: Group) -> torch.Tensor:
    """[units, 5], each with mean 0 and deviation 1 in the group: the logarithms of the norms of the weights that make a
    unit and of those that read it, the cosine between the two, the cosine to the most similar unit, the mean bias."""
    made, read = _made(group), _read(group)
    # of a head, the value rows stand last, and are what its output columns read
    length = read.shape[1]
    unit = normalize(made, dim=1)
    alike = (unit @ unit.T).fill_diagonal_(-1.0)
    bias = torch.cat([one.bias.detach().reshape(group.units, -1) for one in group.makers], dim=1)
    found = torch.stack(
        [
            (made.norm(dim=1) + _SMALL).log(),
            (read.norm(dim=1) + _SMALL).log(),
            cosine_similarity(made[:, -length:], read[:, -length:], dim=1),
            alike.max(1).values,
            bias.mean(1),
        ],
        dim=1,
    )
    return (found - found.mean(0)) / (found.std(0) + _SMALL)


def fit(groups: Sequence[Group], importance: Sequence[torch.Tensor]) -> tuple[float, ...]:
    """The weights of the features that predict ``importance`` ([units] for each of ``groups``) best: ridge regression
    to its standardized logarithm. How ``FITTED`` was made."""
    inputs = torch.cat([features(one) for one in groups]).double()
    wanted = torch.cat([_standard((one + _SMALL).log()) for one in importance]).double()
    held = RIDGE * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(inputs.T @ inputs + held, inputs.T @ wanted)
    return tuple(round(one, 4) for one in solved.tolist())


def _made(group: Group) -> torch.Tensor:
    return torch.cat([one.weight.detach().reshape(group.units, -1) for one in group.makers], dim=1)


def _read(group: Group) -> torch.Tensor:
    return torch.cat([one.weight.detach().T.reshape(group.units, -1) for one in group.readers], dim=1)


def _standard(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean()) / (values.std() + _SMALL)
