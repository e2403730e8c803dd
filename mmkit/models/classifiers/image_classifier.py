"""Backbone, pooling, classes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.preprocessor import DataPreprocessor
from mmkit.registry import BACKBONES, CLASSIFIERS, HEADS, NECKS, build_from_cfg
from mmkit.structures import Batch, ClassScores

Cfg = Mapping[str, Any]


@CLASSIFIERS.register_module()
class ImageClassifier(BaseModule):
    """One class for a whole image, with mmclassification's vocabulary and parameter names.

    A backbone that doesn't say `norm_eval` trains its batch norms here, as in mmclassification; in a detector it
    doesn't.

    Args:
        backbone: of which the last output counts.
        neck: of `GlobalAveragePooling`'s kind.
        head: of `LinearClsHead`'s kind.
        pretrained: older spelling of `init_cfg=dict(type='Pretrained', checkpoint=...)`, for the whole classifier.
        train_cfg: only None; `augments` (Mixup, CutMix) are not supported.
        init_cfg: how the weights start.

    Raises:
        ValueError: without a head, with `train_cfg`, or with both `pretrained` and `init_cfg`.
    """

    def __init__(
        self,
        backbone: Cfg,
        neck: Cfg | None = None,
        head: Cfg | None = None,
        pretrained: str | None = None,
        train_cfg: Cfg | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        if head is None:
            raise ValueError('ImageClassifier needs a head')
        if train_cfg:
            raise ValueError(f'ImageClassifier: train_cfg={dict(train_cfg)}: mixing images (augments) is not supported')
        if pretrained and init_cfg:
            raise ValueError('ImageClassifier: pretrained and init_cfg both say how the weights start')
        super().__init__(dict(type='Pretrained', checkpoint=pretrained) if pretrained else init_cfg)
        self.data_preprocessor = DataPreprocessor()
        self.backbone = build_from_cfg(backbone, BACKBONES, _defaults(backbone))
        self.neck = None if neck is None else build_from_cfg(neck, NECKS)
        self.head = build_from_cfg(head, HEADS)

    def preprocess(self, batch: Batch) -> Batch:
        """The batch with normalised float images, on the device of the model; a second time changes nothing."""
        preprocessed: Batch = self.data_preprocessor(batch)
        return preprocessed

    def extract_feat(self, imgs: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, C) of every output of the backbone; (B, C, H, W) without a neck."""
        feats = self.backbone(imgs)
        return tuple(feats if self.neck is None else self.neck(feats))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, and what else the head has to log."""
        return self.head.loss(self.head(self.extract_feat(batch.imgs)), batch)

    def predict(self, batch: Batch) -> list[ClassScores]:
        """The scores of each image."""
        return self.head.predict(self.head(self.extract_feat(batch.imgs)), batch.metas)

    def forward(self, batch: Batch) -> dict[str, Tensor] | list[ClassScores]:
        batch = self.preprocess(batch)
        return self.loss(batch) if self.training else self.predict(batch)


def _defaults(backbone: Cfg) -> dict[str, Any]:
    """Where mmclassification has another default than mmdetection."""
    kind = backbone.get('type') if isinstance(backbone, Mapping) else None
    target = BACKBONES.get(kind) if isinstance(kind, str) else kind
    return {'norm_eval': False} if target and 'norm_eval' in inspect.signature(target).parameters else {}
