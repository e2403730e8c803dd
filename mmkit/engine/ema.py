"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ModelEma:
    """A second set of weights; `applied` tells which of the two is in the model.

    Args:
        model: with the weights to start from.
        skip_buffers: average parameters only, not the statistics of norm layers.

    Attributes:
        applied: the averaged weights are in the model, the trained ones are kept here.
    """

    def __init__(self, model: nn.Module, skip_buffers: bool = False) -> None:
        self.skip_buffers = skip_buffers
        self.applied = False
        self._other = {name: value.detach().clone() for name, value in self._tracked(model).items()}

    def _tracked(self, model: nn.Module) -> dict[str, Tensor]:
        return dict(model.named_parameters()) if self.skip_buffers else dict(model.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module, momentum: float) -> None:
        """average = (1 - momentum) * average + momentum * weight; whole numbers are copied."""
        for name, value in self._tracked(model).items():
            if value.is_floating_point() and momentum != 1:
                self._other[name].mul_(1 - momentum).add_(value, alpha=momentum)
            else:
                self._other[name].copy_(value)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the weights in the model with those kept here."""
        tracked = self._tracked(model)
        trained = {name: value.clone() for name, value in tracked.items()}  # before any changes: some share a tensor
        for name, value in tracked.items():
            value.copy_(self._other[name])
            self._other[name] = trained[name]
        self.applied = not self.applied

    @contextmanager
    def in_use(self, model: nn.Module) -> Iterator[None]:
        """Put the averaged weights into the model, and the trained ones back at the end."""
        if self.applied:
            yield
            return
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    def averaged(self, model: nn.Module) -> dict[str, Tensor]:
        return self._tracked(model) if self.applied else self._other

    def trained(self, model: nn.Module) -> dict[str, Tensor]:
        """The weights that the optimizer changes."""
        return self._other if self.applied else self._tracked(model)

    @torch.no_grad()
    def load(self, averaged: Mapping[str, Tensor]) -> None:
        """Continue from these averages; names that aren't tracked are left out."""
        for name, kept in self._other.items():
            if name in averaged:
                kept.copy_(averaged[name])
