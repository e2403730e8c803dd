"""The mask head of BoxInst, arXiv:2012.02310."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.errors import ConfigError, InvalidValueError
from mmkit.models.boxinst_preprocessor import BoxInstBatch
from mmkit.models.losses.pairwise import disagreement
from mmkit.models.mask_heads.condinst_mask_head import CondInstMaskHead, CondInstMaskHeadArgs
from mmkit.models.mask_heads.dynamic_conv import MaskKernels
from mmkit.protocols import Progress
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, Instances


@HEADS.register_module()
class BoxInstMaskHead(CondInstMaskHead):
    """CondInst's mask head, trained by boxes: masks fill their box, and pixels of a like colour are of one mask.

    Args:
        mask_feature_head: arguments of `MaskFeatModule`.
        pairwise_size, pairwise_dilation: the neighbours of a pixel, as in `BoxInstDataPreprocessor`.
        warmup_iters: iterations in which the loss of pairs grows to its weight.

    Others as in `CondInstMaskHead`.

    Attributes:
        iteration: training iterations so far.
    """

    needs = ()

    def __init__(
        self,
        mask_feature_head: Cfg,
        pairwise_size: int = 3,
        pairwise_dilation: int = 2,
        warmup_iters: int = 10000,
        **kwargs: Unpack[CondInstMaskHeadArgs],
    ) -> None:
        super().__init__(mask_feature_head, **kwargs)
        if pairwise_size % 2 == 0 or pairwise_size < 3:
            raise InvalidValueError(f'pairwise_size is odd and at least 3, got {pairwise_size}', key='pairwise_size')
        self.pairwise_size = pairwise_size
        self.pairwise_dilation = pairwise_dilation
        self.warmup_iters = warmup_iters
        self.iteration = 0

    def set_progress(self, progress: Progress) -> None:
        """The loss of pairs grows with the iterations."""
        self.iteration = progress.iter

    def loss(self, mask_feats: Tensor, kernels: Sequence[MaskKernels], batch: Batch) -> dict[str, Tensor]:
        """`loss_mask_project`, of the extent of the masks, and `loss_mask_pairwise`, of neighbours of a like colour.

        Raises:
            ConfigError: if the batch has no colours, because the model has another data preprocessor.
        """
        assert batch.gts is not None
        if not isinstance(batch, BoxInstBatch) or batch.similar is None:
            raise ConfigError('BoxInst needs data_preprocessor=dict(type="BoxInstDataPreprocessor", ...)')
        projections, pairs = [], []
        count, num_pairs = 0, mask_feats.new_zeros(())
        for feats, each, gts, similar in zip(mask_feats, kernels, batch.gts, batch.similar, strict=True):
            chosen = self.choose(each)
            assert chosen.gt_inds is not None
            logits = self.logits(feats, chosen)  # (K, h, w)
            boxes = self.targets(gts, logits)[chosen.gt_inds]  # (K, h, w)
            projections.append(self._projection(logits, boxes))
            edges = similar * boxes[:, None]  # (K, 8, h, w)
            pairs.append((disagreement(logits, self.pairwise_size, self.pairwise_dilation) * edges).sum())
            count, num_pairs = count + len(chosen), num_pairs + edges.sum()
        warmup = min((self.iteration + 1) / self.warmup_iters, 1.0)
        return dict(
            loss_mask_project=torch.stack(projections).sum() / max(count, 1),
            loss_mask_pairwise=warmup * torch.stack(pairs).sum() / num_pairs.clamp(min=1),
        )

    def _projection(self, logits: Tensor, boxes: Tensor) -> Tensor:
        """Loss of the greatest logits of rows and columns against those of the boxes, both (K, h, w)."""
        total = logits.sum() * 0  # with a gradient, even if there are no masks
        for dim in (1, 2) if len(logits) else ():
            total = total + self.loss_mask(logits.amax(dim), boxes.amax(dim), reduction_override='none').sum()
        return total

    def targets(self, gts: Instances, logits: Tensor) -> Tensor:
        """(G, h, w) 0 and 1: cells of `logits` (K, h, w) whose middle is in the box of an object."""
        stride = self.mask_out_stride
        height, width = logits.shape[-2:]
        rows, columns = (torch.arange(size, device=logits.device) * stride + stride // 2 for size in (height, width))
        left, top, right, bottom = gts.bboxes.long()[:, :, None].unbind(1)  # (G, 1) each
        in_rows = (rows >= top) & (rows <= bottom)  # (G, h)
        in_columns = (columns >= left) & (columns <= right)  # (G, w)
        return (in_rows[:, :, None] & in_columns[:, None]).to(logits.dtype)
