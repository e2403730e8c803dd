"""Base of heads that predict at every position of every pyramid level."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor

from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing, detect
from mmkit.registry import Cfg
from mmkit.structures import Batch, ImageMeta, Instances

OutsT = TypeVar('OutsT')


class BaseDenseHead(Generic[OutsT]):
    """The four verbs of a dense head: `forward`, `loss`, `decode` and `predict`.

    A head adds this class to the bases of its module, and defines `forward`, `loss`, `level_predictions` and
    `decode_boxes`. `OutsT` is the type of the raw predictions: a tuple or a list of tensors.

    Attributes:
        test_cfg: settings of `predict`; None if the head was built without them.
    """

    compares_classes = True  # num_classes must be the number of classes in the dataset
    test_cfg: PostProcessing | None

    if TYPE_CHECKING:  # that of nn.Module promises nothing

        def __call__(self, feats: Sequence[Tensor]) -> OutsT: ...

    @abstractmethod
    def forward(self, feats: Sequence[Tensor]) -> OutsT:
        """Features (B, in_channels, H, W) of each level -> raw predictions."""

    @abstractmethod
    def loss(self, outs: OutsT, batch: Batch) -> dict[str, Tensor]:
        """Losses by name."""

    @abstractmethod
    def level_predictions(self, outs: OutsT) -> list[LevelPredictions]:
        """Probabilities and raw boxes of every level, detached and in float32."""

    @abstractmethod
    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes in pixels of the network's input, from `priors` (N, P) and raw predictions (N, K)."""

    def decode(self, outs: OutsT, metas: Sequence[ImageMeta]) -> tuple[Tensor, Tensor]:
        """Boxes and scores of all N priors, without thresholds and without NMS. Shapes follow from those of `outs`.

        Returns:
            (B, N, 4) boxes xyxy in pixels of the network's input, and (B, N, C) scores.
        """
        levels = self.level_predictions(outs)
        priors = torch.cat([level.priors for level in levels])  # (N, P)
        box_preds = torch.cat([level.box_preds for level in levels], dim=1)  # (B, N, K)
        boxes = [self.decode_boxes(priors, preds, meta.img_shape) for preds, meta in zip(box_preds, metas, strict=True)]
        return torch.stack(boxes), torch.cat([level.final_scores for level in levels], dim=1)

    def predict(
        self,
        outs: OutsT,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, best first; `cfg` overrides the head's `test_cfg`.

        Only candidates are decoded, which score above the threshold and are among the best of their level.
        """
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        return detect(self.level_predictions(outs), self.decode_boxes, metas, settings, rescale)
