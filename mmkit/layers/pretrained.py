"""Weights of a checkpoint for a part of a model: `load_matching`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.utils.logging import get_logger
from mmkit.utils.state_dict import LoadReport, load_state_dict
from mmkit.utils.weights import read_weights, resolve


def load_matching(
    module: nn.Module, checkpoint: str, prefix: str | None = None, map_location: str | None = None
) -> LoadReport:
    """Copy the tensors that match by name and shape from a checkpoint into `module`, and log the others.

    Args:
        module: receives the weights.
        checkpoint: a path, URL or scheme such as 'torchvision://resnet50'.
        prefix: take only the names below it, e.g. 'backbone.'.
        map_location: device of the tensors read; None is the CPU.

    Raises:
        InvalidValueError: no name starts with `prefix`, or less than half of the module's tensors are in the
            checkpoint.
    """
    state = weights_in(read_weights(resolve(checkpoint), map_location or 'cpu'))
    if prefix:
        prefix = prefix if prefix.endswith('.') else prefix + '.'
        below = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if not below:
            raise InvalidValueError(
                f'{checkpoint} has no weights below {prefix!r}, its names begin with {list(state)[:3]}', key='prefix'
            )
        state = below
    report = load_state_dict(module, state)
    matched, wanted = report.under('')
    name = type(module).__name__
    if 2 * matched < wanted:
        raise InvalidValueError(
            f'{checkpoint} is not a checkpoint of {name}: {matched} of {wanted} tensors match. {report}',
            key='checkpoint',
        )
    get_logger('mmkit.layers').info('%s from %s: %s', name, checkpoint, report)
    return report


def weights_in(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, their names without the 'module.' of data-parallel training."""
    for key in ('state_dict', 'model'):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    return {name.removeprefix('module.'): value for name, value in content.items() if isinstance(value, Tensor)}
