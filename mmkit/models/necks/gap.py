"""Global average pooling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.registry import NECKS


@NECKS.register_module()
class GlobalAveragePooling(nn.Module):
    """Spatial mean of every level (arXiv:1312.4400).

    Args:
        dim: number of spatial dimensions, 1 to 3.
    """

    def __init__(self, dim: int = 2) -> None:
        super().__init__()
        if dim not in (1, 2, 3):
            raise InvalidValueError(f'dim is 1, 2 or 3, got {dim!r}', key='dim')
        self.dim = dim

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C, H, W) each -> (B, C) each; with another `dim` there are as many spatial dimensions."""
        for feat in feats:
            if feat.ndim != self.dim + 2:
                raise InvalidValueError(
                    f'GlobalAveragePooling(dim={self.dim}) got features {tuple(feat.shape)}', key='dim'
                )
        return tuple(feat.flatten(2).mean(dim=2) for feat in feats)
