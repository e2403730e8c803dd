"""The state of a training in its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypedDict, cast

from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.engine.checkpoint import load_state_dict
from mmkit.engine.meters import MeterState
from mmkit.engine.mmengine import trained_weights, without_preprocessor
from mmkit.engine.optim import IMPLEMENTATION
from mmkit.engine.rng import RngState
from mmkit.errors import InvalidValueError, UnknownNameError
from mmkit.utils.weights import read_weights, resolve


class Best(TypedDict):
    """The best evaluation so far by one figure: the score, the checkpoint and the iteration."""

    score: float
    path: str
    iter: int


class ProcessRng(TypedDict):
    """Random numbers of a process: now, and when its epoch began."""

    now: RngState
    epoch: RngState | None


class RunnerState(TypedDict, total=False):
    """Everything besides the weights, the optimizer and `meta` that a resumed training needs.

    `best` and `hooks` are those of the runner. `rng` has one entry for each process, `trained` is there if the weights
    of the file are averages, `grads` if the training was between two steps of the optimizer.
    """

    epoch: int
    iter: int
    inner_iter: int
    meters: MeterState
    best: dict[str, Best]
    hooks: dict[str, dict[str, float]]
    rng: list[ProcessRng]
    scaler: dict[str, Any]
    trained: dict[str, Tensor]
    grads: dict[str, Tensor]


class TrainingCheckpoint(TypedDict, total=False):
    """A checkpoint of a training; those of mmdetection have no `runner`, and no other have `ema_state_dict`."""

    meta: dict[str, Any]
    state_dict: dict[str, Tensor]
    ema_state_dict: dict[str, Tensor]
    optimizer: dict[str, Any]
    runner: RunnerState


def read_training(path: str | os.PathLike[str]) -> TrainingCheckpoint:
    """Read a checkpoint to resume.

    Raises:
        UnknownNameError: it says nothing about a training.
    """
    checkpoint = read_weights(resolve(path))
    if 'meta' not in checkpoint or 'iter' not in checkpoint['meta']:
        message = f'{path} holds weights but no state of a training: start from it with load_from instead'
        raise UnknownNameError(message, key='resume_from')
    return cast(TrainingCheckpoint, checkpoint)


def read_best(state: Mapping[str, Any]) -> dict[str, Best]:
    """The best evaluations in the `runner` of a checkpoint, by figure; mmkit 1.0 knew of one."""
    best: dict[str, Any] = state['best']
    if 'key' in best:
        return {best['key']: Best(score=best['score'], path=best['path'], iter=best['iter'])}
    return dict(best)


def load_trained(model: nn.Module, checkpoint: TrainingCheckpoint) -> dict[str, Tensor]:
    """Load the weights of a checkpoint, and return averaged ones that it has besides those that are trained.

    mmdetection 2.x keeps the weights that are trained in buffers `ema_*` beside the averaged ones; for 3.x see
    `mmkit.engine.mmengine.trained_weights`.
    """
    weights = without_preprocessor(checkpoint['state_dict'])
    names = {f'ema_{name.replace(".", "_")}': name for name in model.state_dict()}
    load_state_dict(model, {name: value for name, value in weights.items() if name not in names}, strict=True)
    trained = {names[name]: weights[name] for name in names if name in weights} or trained_weights(checkpoint)
    return replace_averages(model, trained) if trained else {}


def replace_averages(model: nn.Module, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put trained weights in place of averaged ones, which are returned."""
    averages = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(trained, strict=False)
    return averages


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any], model: nn.Module) -> None:
    """Continue with the state in a checkpoint.

    An optimizer over all parameters of the model, frozen ones included, as mmdetection makes it, is cut down to the
    trainable ones.

    Raises:
        InvalidValueError: it is of an optimizer over other parameters, or of several optimizers.
    """
    if 'param_groups' not in state:
        message = f'the checkpoint has the state of several optimizers ({", ".join(state)}), here is one'
        raise InvalidValueError(f'{message}: start from its weights with load_from', key='resume_from')
    groups = [dict(group) for group in state['param_groups']]
    saved = [index for group in groups for index in group['params']]
    everything = list(model.parameters())
    if len(saved) == len(everything) != sum(len(group['params']) for group in optimizer.param_groups):
        kept = {index for index, param in zip(saved, everything) if param.requires_grad}
        for group in groups:
            group['params'] = [index for index in group['params'] if index in kept]
        groups = [group for group in groups if group['params']]
    for group, own in zip(groups, optimizer.param_groups):
        group.update({key: own[key] for key in IMPLEMENTATION if key in own})
    theirs, ours = ([len(group['params']) for group in each] for each in (groups, optimizer.param_groups))
    if theirs != ours:
        message = f'the optimizer of the checkpoint has {sum(theirs)} parameters in {len(theirs)} groups'
        raise InvalidValueError(
            f'{message}, here it has {sum(ours)} in {len(ours)}: start from its weights with load_from', 'resume_from'
        )
    optimizer.load_state_dict({'state': state['state'], 'param_groups': groups})
