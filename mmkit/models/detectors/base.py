"""What every detector is: features, losses, predictions."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmkit.layers import BaseModule, Sequential
from mmkit.registry import BACKBONES, NECKS, build_from_cfg
from mmkit.structures import Batch, Instances


class Detector(BaseModule):
    """A backbone, perhaps a neck, and heads.

    Args:
        neck: one, or several that follow each other.
        pretrained: older spelling of `init_cfg=dict(type='Pretrained', checkpoint=...)` of the backbone.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if pretrained:
            warnings.warn('pretrained is outdated: use init_cfg of the backbone', stacklevel=3)
            backbone = {**backbone, 'init_cfg': dict(type='Pretrained', checkpoint=pretrained)}
            backbone.pop('pretrained', None)
        self.backbone = build_from_cfg(backbone, BACKBONES)
        if isinstance(neck, Sequence):
            self.neck = Sequential(*(build_from_cfg(part, NECKS) for part in neck))
        elif neck is not None:
            self.neck = build_from_cfg(neck, NECKS)

    def extract_feat(self, imgs: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, C, H_l, W_l) of every level."""
        feats = self.backbone(imgs)
        return tuple(self.neck(feats)) if hasattr(self, 'neck') else tuple(feats)

    @property
    def with_mask(self) -> bool:
        """Whether detections come with masks."""
        return getattr(self, 'mask_head', None) is not None or getattr(
            getattr(self, 'roi_head', None), 'with_mask', False
        )

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed, the others are only logged."""

    @abstractmethod
    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""

    def forward(self, batch: Batch) -> dict[str, Tensor] | list[Instances]:
        return self.loss(batch) if self.training else self.predict(batch)
