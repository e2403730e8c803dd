"""The sum of a model's losses, and their values for logs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from mmkit.errors import UserError
from mmkit.utils.dist import all_gather_object, get_world_size, reduce_mean


class NonFiniteError(UserError, FloatingPointError):
    """A loss or the norm of the gradient is infinite or not a number."""


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


@dataclass(frozen=True)
class StepLosses:
    """Losses of one step, on the device.

    Attributes:
        names: of the values.
        values: (len(names) + 1,), in the order of the sorted names; the last is 0 if the step was finite.
        files: of the images in the batch.
        place: of the step in the training, for messages.
    """

    names: list[str]
    values: Tensor
    files: list[str]
    place: str

    def by_name(self, numbers: Sequence[float]) -> dict[str, float]:
        named = dict(zip(sorted(self.names), numbers))
        return {name: named[name] for name in self.names}


class PendingLosses:
    """Losses of the latest steps, on the device until `read` brings all of them over in one transfer."""

    def __init__(self) -> None:
        self._steps: list[StepLosses] = []
        self._latest: StepLosses | None = None

    def __len__(self) -> int:
        return len(self._steps)

    def add(
        self, values: Mapping[str, Tensor], files: list[str], finite: Tensor | None = None, place: str = ''
    ) -> None:
        """Take in a step.

        Args:
            values: scalars by name.
            files: of the images in the batch.
            finite: a boolean; False makes the next `read` raise an error. None: nobody asks.
            place: of the step in the training, for messages.
        """
        scalars = [values[name].detach().float() for name in sorted(values)]
        scalars.append(torch.zeros_like(scalars[0]) if finite is None else (~finite).float())
        self._latest = StepLosses(list(values), torch.stack(scalars), files, place)
        self._steps.append(self._latest)

    def latest(self) -> dict[str, float]:
        """Losses of the latest step in this process; waits for the device."""
        return self._latest.by_name(self._latest.values.tolist()) if self._latest else {}

    def read(self) -> list[tuple[dict[str, float], int]]:
        """Losses and number of images of the steps since the last reading; all processes must call it.

        Losses are averaged over processes.

        Raises:
            NonFiniteError: for the first step that was not finite in some process.
            RuntimeError: if the processes have different numbers of losses.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return []
        flat = torch.cat([step.values for step in steps])
        _check_count(flat, steps)
        numbers = iter(reduce_mean(flat).tolist())
        read = []
        for step in steps:
            *values, is_bad = islice(numbers, len(step.values))
            if is_bad > 0:  # in some process
                raise _not_finite(step)
            read.append((step.by_name(values), len(step.files)))
        return read


def _check_count(flat: Tensor, steps: Sequence[StepLosses]) -> None:
    if get_world_size() > 1 and float(reduce_mean(flat.new_tensor([len(flat)]))) != len(flat):
        raise RuntimeError(f'this process has the losses {steps[-1].names}, others have another number of them')


def _not_finite(step: StepLosses) -> NonFiniteError:
    """The error about a step, with the files of the processes whose loss is not finite, or of all of them."""
    *values, _ = step.values.tolist()
    bad = {name: value for name, value in step.by_name(values).items() if not math.isfinite(value)}
    bad.pop('grad_norm', None)  # it is everywhere what a loss has made it in one process
    everywhere = all_gather_object((bad, step.files))
    guilty = [each for each in everywhere if each[0]] or everywhere
    named = {name: value for bad, _ in guilty for name, value in bad.items()}
    shown = ', '.join(f'{name} = {value}' for name, value in named.items()) or 'the gradient is not finite'
    files = ', '.join(file for _, files in guilty for file in files)
    return NonFiniteError(
        f'{shown} {step.place} for {files}. The step was not taken, earlier checkpoints are intact. '
        'Usual reasons: a learning rate that is too high (auto_scale_lr, warmup, grad_clip) or broken annotations'
    )
