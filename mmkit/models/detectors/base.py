"""The base of detectors: features, losses, decoded outputs, detections."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor, nn

from mmkit.errors import ConfigError
from mmkit.layers import BaseModule, Sequential
from mmkit.layers.init import InitCfg
from mmkit.models.preprocessor import DataPreprocessor
from mmkit.protocols import NMSSettings
from mmkit.registry import BACKBONES, NECKS, Cfg
from mmkit.structures import Batch, Instances

# The transform that loads each field of the ground truth.
_SOURCES = {'gt_masks': 'LoadAnnotations(with_mask=True)', 'gt_semantic_seg': 'LoadAnnotations(with_seg=True)'}


class DetectorArgs(TypedDict, total=False):
    """Arguments that every detector takes besides those of its own; see `Detector`."""

    neck: Cfg | Sequence[Cfg] | None
    pretrained: str | None
    init_cfg: InitCfg


class Detector(BaseModule):
    """Base of detectors: a backbone, perhaps a neck, and heads.

    Args:
        neck: one, or several that follow each other.
        pretrained: older spelling of `init_cfg=dict(type='Pretrained', checkpoint=...)` of the backbone.

    Attributes:
        needs: fields of the ground truth to learn from, by their keys in a pipeline.
        data_preprocessor: normalises images on the device; by default, it takes them as they are.
    """

    needs: tuple[str, ...] = ('gt_bboxes', 'gt_labels')

    def __init__(
        self,
        backbone: Cfg,
        neck: Cfg | Sequence[Cfg] | None = None,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.data_preprocessor = DataPreprocessor()
        if pretrained:
            warnings.warn('pretrained is outdated: use init_cfg of the backbone', stacklevel=3)
            backbone = {**backbone, 'init_cfg': dict(type='Pretrained', checkpoint=pretrained)}
            backbone.pop('pretrained', None)
        self.backbone = BACKBONES.build(backbone)
        self.neck: nn.Module | None = None
        if isinstance(neck, Sequence):
            self.neck = Sequential(*(NECKS.build(part) for part in neck))
        elif neck is not None:
            self.neck = NECKS.build(neck)

    def preprocess(self, batch: Batch) -> Batch:
        """The batch with normalised float images, on the device of the model; a second time changes nothing."""
        preprocessed: Batch = self.data_preprocessor(batch)
        return preprocessed

    @property
    def with_mask(self) -> bool:
        """True if detections come with masks."""
        return 'gt_masks' in self.needs

    @property
    def with_semantic(self) -> bool:
        """True if it learns a semantic segmentation, too."""
        return 'gt_semantic_seg' in self.needs

    @property
    def nms_settings(self) -> NMSSettings | None:
        """Settings of the last stage, by which detections in several views of an image are merged; None without NMS."""
        return None

    def extract_feat(self, imgs: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, C, H_l, W_l) of every level."""
        feats = self.backbone(imgs)
        return tuple(feats if self.neck is None else self.neck(feats))

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed, the others are only logged."""

    @abstractmethod
    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        """Scored boxes with shapes that don't depend on the image, for export: no thresholds, no NMS.

        Args:
            batch: as a loader gives it; `preprocess` is a part of this.

        Returns:
            Boxes (B, N, 4) in pixels of the network's input, scores (B, N, C); with `with_mask` the probabilities
            (B, N, h, w) of masks, spread over the boxes.
        """

    @abstractmethod
    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""

    def forward(self, batch: Batch) -> dict[str, Tensor] | list[Instances]:
        batch = self.preprocess(batch)
        if not self.training:
            return self.predict(batch)
        for key in self.needs:
            if _lacks(batch, key):
                raise ConfigError(
                    f'{type(self).__name__} learns from {key}, which data.train does not give: its pipeline needs '
                    f'{_SOURCES.get(key, "LoadAnnotations")} and {key!r} among the keys of Collect'
                )
        return self.loss(batch)


def _lacks(batch: Batch, key: str) -> bool:
    """True if the pipeline has left out the field that it calls `key`."""
    if key == 'gt_semantic_seg':
        return batch.gt_semantic_seg is None
    field = key.removeprefix('gt_')
    return batch.gts is None or any(field not in each.present() for each in batch.gts)
