"""The strongest directions of vectors: what a narrower stream keeps."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def basis(states: Sequence[torch.Tensor], width: int) -> torch.Tensor:
    """The ``width`` strongest directions of ``states`` ([tokens, hidden] each, all of equal say), orthonormal:
    [hidden, width]. Not centred: the mean is a direction as well, and biases have to live in the new basis."""
    moments = sum(one.T @ one / one.square().sum() for one in (one.double() for one in states))
    assert isinstance(moments, torch.Tensor)
    vectors = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, :width]
    # an eigenvector's sign is the library's whim: the largest part of each is made positive
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return (vectors * largest.sign()).float()
