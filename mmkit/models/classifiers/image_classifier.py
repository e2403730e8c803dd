"""Classifiers of whole images."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.models.classifiers.mixing import BatchMixture
from mmkit.models.preprocessor import DataPreprocessor
from mmkit.protocols import ClassificationHead, FreezesNorms
from mmkit.registry import BACKBONES, CLASSIFIERS, CLS_HEADS, NECKS, Cfg, check_arguments
from mmkit.structures import Batch, ClassScores


@CLASSIFIERS.register_module()
class ImageClassifier(BaseModule):
    """A backbone, perhaps a neck, and a head, with mmclassification's vocabulary and parameter names.

    Batch norms of the backbone are trained unless its config says `norm_eval=True`, as in mmclassification. In a
    detector, those of a ResNet are frozen by default.

    Args:
        backbone: a config; the head reads the last output.
        neck: a config, such as that of a `GlobalAveragePooling`.
        head: a config, such as that of a `LinearClsHead`.
        pretrained: older spelling of `init_cfg=dict(type='Pretrained', checkpoint=...)`, for the whole classifier.
        train_cfg: `augments` and their `probs`, which mix the images of a batch, see `BatchMixture`.
        init_cfg: how the weights start.

    Raises:
        InvalidValueError: without a head, or with both `pretrained` and `init_cfg`.
        InvalidTypeError: for anything else in `train_cfg`.
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
            raise InvalidValueError('ImageClassifier needs a head')
        if pretrained and init_cfg:
            raise InvalidValueError(
                'ImageClassifier: pretrained and init_cfg both say how the weights start', 'pretrained'
            )
        super().__init__(dict(type='Pretrained', checkpoint=pretrained) if pretrained else init_cfg)
        self.data_preprocessor = DataPreprocessor()
        self.backbone = BACKBONES.build(backbone)
        if isinstance(self.backbone, FreezesNorms) and 'norm_eval' not in backbone:
            self.backbone.norm_eval = False
        self.neck = None if neck is None else NECKS.build(neck)
        self.head: ClassificationHead[Any] = CLS_HEADS.build(head)
        self.mixture: nn.Module | None = None
        if train_cfg:
            check_arguments(BatchMixture, train_cfg, 1, 'train_cfg')
            self.mixture = BatchMixture(self.head.num_classes, **train_cfg)

    def preprocess(self, batch: Batch) -> Batch:
        """The batch with normalised float images, on the device of the model; a second time changes nothing."""
        preprocessed: Batch = self.data_preprocessor(batch)
        return preprocessed

    def extract_feat(self, imgs: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, C) of every output of the backbone; (B, C, H, W) without a neck."""
        feats = self.backbone(imgs)
        return tuple(feats if self.neck is None else self.neck(feats))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed, the others are only logged."""
        return self.head.loss(self.head(self.extract_feat(batch.imgs)), batch)

    def predict(self, batch: Batch) -> list[ClassScores]:
        """The scores of each image."""
        return self.head.predict(self.head(self.extract_feat(batch.imgs)), batch.metas)

    def forward(self, batch: Batch) -> dict[str, Tensor] | list[ClassScores]:
        batch = self.preprocess(batch)
        if not self.training:
            return self.predict(batch)
        return self.loss(batch if self.mixture is None else self.mixture(batch))
