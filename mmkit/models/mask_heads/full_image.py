"""Masks that are predicted for the whole image, not for a region."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from mmkit.structures import EncodedMasks, ImageMeta


def aligned_upsample(feats: Tensor, factor: int) -> Tensor:
    """(B, C, h, w) -> (B, C, h * factor, w * factor), bilinear between the pixels in the middle of each cell.

    Unlike `functional.interpolate`, a value stays where a stride has taken it: pixel `factor // 2` of its cell.
    """
    if factor == 1:
        return feats
    height, width = feats.shape[-2:]
    padded = functional.pad(feats, (1, 1, 1, 1), mode='replicate')
    size = factor * (height + 1) + 1, factor * (width + 1) + 1
    dense = functional.interpolate(padded, size=size, mode='bilinear', align_corners=True)
    first = factor - factor // 2
    return dense[..., first : first + factor * height, first : first + factor * width]


def encode_masks(probs: Tensor, stride: int, meta: ImageMeta, threshold: float, rescale: bool) -> EncodedMasks:
    """Masks of the objects of one image, cut at `threshold`; one at a time, so that memory doesn't grow with them.

    Args:
        probs: (K, h, w) probabilities on cells of `stride` pixels of the network's input.
        threshold: pixels with a greater probability belong to the mask.
        rescale: in pixels of the original image.
    """
    height, width = meta.img_shape[:2]
    masks = []
    for prob in probs:
        pixels = aligned_upsample(prob[None, None], stride)[..., :height, :width]
        if rescale:
            pixels = functional.interpolate(pixels, size=meta.ori_shape[:2], mode='bilinear', align_corners=False)
        masks.append(EncodedMasks.from_bitmaps((pixels[0] > threshold).cpu().numpy()))
    if not masks:
        return EncodedMasks([], *(meta.ori_shape if rescale else meta.img_shape)[:2])
    return EncodedMasks.cat(masks)
