"""Take from a checkpoint what fits a module, and say what did not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

logger = logging.getLogger('mmkit')


def load_matching(module: nn.Module, checkpoint: str, prefix: str | None = None,
                  map_location: str | None = None) -> None:
    """Copy the tensors of a checkpoint whose names and shapes fit into `module`.

    Args:
        module: receives the weights.
        checkpoint: a path, URL or scheme such as 'torchvision://resnet50'.
        prefix: take only the keys below it, e.g. 'backbone.'.
        map_location: device of the tensors read; None is the CPU.

    Raises:
        ValueError: no key starts with `prefix`, or less than half of the module's tensors are in the checkpoint.
    """
    from mmkit.utils.weights import read_weights, resolve

    content = read_weights(resolve(checkpoint), map_location=map_location or 'cpu')
    state = tensors_of(content)
    if prefix:
        prefix = prefix if prefix.endswith('.') else prefix + '.'
        state = {key[len(prefix):]: tensor for key, tensor in state.items() if key.startswith(prefix)}
        if not state:
            raise ValueError(f'{checkpoint} has no weights below {prefix!r}')
    report_and_load(module, state, checkpoint)


def tensors_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint's content, without the 'module.' that data-parallel training puts before names."""
    state = content.get('state_dict', content.get('model', content))
    return {key.removeprefix('module.'): value for key, value in state.items() if isinstance(value, Tensor)}


def report_and_load(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load what fits, log what does not, raise ValueError if less than half of the module's weights are there."""
    before = set(_counted(module.state_dict()))
    outcome = _load_by_shape(module, state)
    missing = before & set(outcome.missing + outcome.reshaped)
    name = type(module).__name__
    matched = len(before) - len(missing)
    summary = f'{name} from {source}: {matched} of {len(before)} tensors matched'
    for what, keys in (('missing', outcome.missing), ('not used', outcome.unexpected),
                       ('of another shape', outcome.reshaped)):
        if keys:
            summary += f'; {len(keys)} {what} ({", ".join(keys[:5])}{", ..." if len(keys) > 5 else ""})'
    if before and 2 * matched < len(before):
        raise ValueError(f'{summary}. Less than half matches: is this a checkpoint of {name}?')
    logger.info(summary)


class _Outcome:
    def __init__(self, missing: list[str], unexpected: list[str], reshaped: list[str]) -> None:
        self.missing, self.unexpected, self.reshaped = missing, unexpected, reshaped


def _counted(state: Mapping[str, Any]) -> list[str]:
    return [key for key in state if not key.endswith('num_batches_tracked')]


def _load_by_shape(module: nn.Module, state: dict[str, Tensor]) -> _Outcome:
    own = module.state_dict()
    reshaped = [key for key, tensor in state.items() if key in own and own[key].shape != tensor.shape]
    fitting = {key: tensor for key, tensor in state.items() if key not in reshaped}
    keys = module.load_state_dict(fitting, strict=False)  # modules may rename older keys on the way
    missing = [key for key in _counted(dict.fromkeys(keys.missing_keys)) if key not in reshaped]
    return _Outcome(missing, list(keys.unexpected_keys), reshaped)
