"""Training a model on datasets as a config says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mmkit.datasets import SeededDataset
from mmkit.dialects import read_recipe
from mmkit.engine.assemble import assemble, require_training
from mmkit.engine.runner import Runner


def train_detector(
    model: nn.Module,
    dataset: SeededDataset | Sequence[SeededDataset],
    cfg: Mapping[str, Any],
    distributed: bool = False,
    validate: bool = False,
    timestamp: str | None = None,
    meta: Mapping[str, Any] | None = None,
    device: str | torch.device | None = None,
) -> Runner:
    """Train a detector or classifier as a config says.

    Args:
        model: with the weights to begin with.
        dataset: a dataset, or one for each part of `cfg.workflow`.
        cfg: a whole config; it stays as it is.
        distributed: torch.distributed is initialised and its processes train together.
        validate: evaluate on `cfg.data.val` as `cfg.evaluation` says.
        timestamp: in the names of log files; by default now.
        meta: entries of logs and checkpoints besides classes and config.
        device: by default `cfg.device`, or a GPU if there is one.

    Returns:
        The runner after the training; its `module` is the model.

    Raises:
        UserError: before the training, naming the key, and its file and line where the config knows them.
    """
    recipe = read_recipe(cfg)
    if not validate:
        recipe = replace(recipe, evaluation=None)
    if device is not None:
        recipe = replace(recipe, environment=replace(recipe.environment, device=str(device)))
    datasets = [dataset] if isinstance(dataset, SeededDataset) else list(dataset)
    runner, loaders = assemble(recipe, model, datasets, distributed, timestamp, meta)
    runner.run(loaders, require_training(recipe).turns)
    return runner
