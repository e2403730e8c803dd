"""What every detector is: features, losses, predictions."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmkit.config import ConfigError
from mmkit.layers import BaseModule, Sequential
from mmkit.models.preprocessor import DataPreprocessor
from mmkit.registry import BACKBONES, NECKS, build_from_cfg
from mmkit.structures import Batch, Instances

# What loads each part of the ground truth.
_SOURCES = {
    'gt_bboxes': 'LoadAnnotations',
    'gt_labels': 'LoadAnnotations',
    'gt_masks': 'LoadAnnotations(with_mask=True)',
    'gt_semantic_seg': 'LoadAnnotations(with_seg=True)',
}


class Detector(BaseModule):
    """A backbone, perhaps a neck, and heads.

    Args:
        neck: one, or several that follow each other.
        pretrained: older spelling of `init_cfg=dict(type='Pretrained', checkpoint=...)` of the backbone.

    Attributes:
        data_preprocessor: normalises images on the device; by default, it takes them as they are.
    """

    needs_labels = True  # of objects, for training

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.data_preprocessor = DataPreprocessor()
        if pretrained:
            warnings.warn('pretrained is outdated: use init_cfg of the backbone', stacklevel=3)
            backbone = {**backbone, 'init_cfg': dict(type='Pretrained', checkpoint=pretrained)}
            backbone.pop('pretrained', None)
        self.backbone = build_from_cfg(backbone, BACKBONES)
        if isinstance(neck, Sequence):
            self.neck: nn.Module = Sequential(*(build_from_cfg(part, NECKS) for part in neck))
        elif neck is not None:
            self.neck = build_from_cfg(neck, NECKS)

    def preprocess(self, batch: Batch) -> Batch:
        """The batch with normalised float images, on the device of the model; a second time changes nothing."""
        preprocessed: Batch = self.data_preprocessor(batch)
        return preprocessed

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

    @property
    def with_semantic(self) -> bool:
        """Whether it learns a semantic segmentation, too."""
        return getattr(getattr(self, 'roi_head', None), 'semantic_head', None) is not None

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed, the others are only logged."""

    @abstractmethod
    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""

    def forward(self, batch: Batch) -> dict[str, Tensor] | list[Instances]:
        batch = self.preprocess(batch)
        if not self.training:
            return self.predict(batch)
        self._check_truth(batch)
        return self.loss(batch)

    def _check_truth(self, batch: Batch) -> None:
        """Raises a ConfigError if the pipeline leaves out what the model learns from."""
        gts = batch.gts or []
        lacking = {
            'gt_bboxes': batch.gts is None,
            'gt_labels': self.needs_labels and any(each.labels is None for each in gts),
            'gt_masks': self.with_mask and any(each.masks is None for each in gts),
            'gt_semantic_seg': self.with_semantic and batch.gt_semantic_seg is None,
        }
        for key, is_lacking in lacking.items():
            if is_lacking:
                raise ConfigError(
                    f'{type(self).__name__} learns from {key}, which data.train does not give: '
                    f'its pipeline needs {_SOURCES[key]} and {key!r} among the keys of Collect'
                )
