"""What every neck expects of the backbone before it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def check_inputs(name: str, inputs: Sequence[Tensor], in_channels: Sequence[int], used: slice = slice(None)) -> None:
    """Raises a ValueError if the levels (B, C_l, H_l, W_l) are not as many, or those `used` not as wide, as expected.

    Args:
        name: of the neck, for the message.
        in_channels: expected C_l.
        used: levels of which the neck looks at the values.
    """
    if len(inputs) != len(in_channels):
        raise ValueError(f'{name}: in_channels has {len(in_channels)} levels, got {len(inputs)} feature maps')
    given = [level.shape[1] for level in inputs]
    if given[used] != list(in_channels[used]):
        raise ValueError(f'{name}: in_channels is {list(in_channels)}, the backbone gives {given} channels')
