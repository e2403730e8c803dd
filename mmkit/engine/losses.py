"""From the losses of a model to their sum and to numbers for logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmkit.utils.dist import get_world_size, reduce_mean


def sum_losses(losses: Mapping[str, Tensor | Sequence[Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Add up everything whose name contains 'loss'.

    Args:
        losses: by name; each a tensor, which is averaged, or several, whose averages are added.

    Returns:
        The sum, and all values by name with the sum as 'loss'.
    """
    values = {}
    for name, value in losses.items():
        if isinstance(value, Tensor):
            values[name] = value.mean()
        elif isinstance(value, (list, tuple)):
            values[name] = torch.stack([part.mean() for part in value]).sum()
        else:
            raise TypeError(f'{name} is a {type(value).__name__}, expected a tensor or a list of tensors')
    parts = [value for name, value in values.items() if 'loss' in name]
    if not parts:
        raise ValueError(f"the model returned no loss: none of {sorted(losses)} has 'loss' in its name")
    total = torch.stack([part.float() for part in parts]).sum()
    values['loss'] = total
    return total, values


def to_numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Values averaged over all processes, read from the device in one go.

    Raises:
        RuntimeError: if the processes have different names.
    """
    names = all_names = list(values)
    if get_world_size() > 1:
        first = reduce_mean(torch.tensor([float(len(names))], device=next(iter(values.values())).device))
        if float(first) != len(names):
            raise RuntimeError(f'this process has the losses {names}, others have another number of them')
        all_names = sorted(names)
    stacked = torch.stack([values[name].detach().float() for name in all_names])
    by_name = dict(zip(all_names, reduce_mean(stacked).tolist()))
    return {name: by_name[name] for name in names}
