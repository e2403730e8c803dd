"""RTMDet, arXiv:2212.07784."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.layers.norm import synchronise_batch_norm
from mmkit.models.dense_heads import RTMDetInsHead
from mmkit.models.detectors.single_stage import SingleStageArgs, SingleStageDetector
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch
from mmkit.utils.dist import get_world_size


@DETECTORS.register_module()
class RTMDet(SingleStageDetector):
    """A one-stage detector of real-time speed, which may segment, too (arXiv:2212.07784).

    Args:
        use_syncbn: with several processes on GPUs, batch norms work over all of them.

    Others as in `SingleStageDetector`.
    """

    def __init__(
        self, backbone: Cfg, bbox_head: Cfg, use_syncbn: bool = True, **kwargs: Unpack[SingleStageArgs]
    ) -> None:
        super().__init__(backbone, bbox_head, **kwargs)
        if isinstance(self.bbox_head, RTMDetInsHead):
            self.needs = (*self.needs, 'gt_masks')
        if use_syncbn and get_world_size() > 1 and torch.cuda.is_available():
            synchronise_batch_norm(self)

    def decode(self, batch: Batch) -> tuple[Tensor, ...]:
        """As `Detector.decode`; a head that segments adds its `kernels`, from which `mask_logits` makes masks."""
        batch = self.preprocess(batch)
        outs = self._outs(batch)
        decoded = self.bbox_head.decode(outs, batch.metas)
        return (*decoded, *self.bbox_head.kernels(outs)) if isinstance(self.bbox_head, RTMDetInsHead) else decoded
