"""Models of torchvision: ResNet, VGG, MobileNetV2 as backbones, Faster and Mask R-CNN as whole detectors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmkit.engine.converters.rules import Conversion, Rules, rename
from mmkit.errors import InvalidValueError

RESNET: Rules = ((r'fc\.', None), (r'(conv1|bn1|layer\d)\.', r'\1.'))
VGG: Rules = ((r'classifier\.', None), (r'features\.', 'features.'))

# Blocks of each of MobileNetV2's seven layers; `features.1` to `features.17` run through them.
_MOBILENET_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
_PLACES = [(layer + 1, block) for layer, count in enumerate(_MOBILENET_BLOCKS) for block in range(count)]
MOBILENET_V2: Rules = (
    (r'classifier\.', None),
    (r'features\.0\.0\.', 'conv1.conv.'),
    (r'features\.0\.1\.', 'conv1.bn.'),
    (r'features\.18\.0\.', 'conv2.conv.'),
    (r'features\.18\.1\.', 'conv2.bn.'),
    # The first block widens nothing, so its depthwise convolution comes first.
    (r'features\.1\.conv\.0\.0\.', 'layer1.0.depthwise_conv.conv.'),
    (r'features\.1\.conv\.0\.1\.', 'layer1.0.depthwise_conv.bn.'),
    (r'features\.1\.conv\.1\.', 'layer1.0.linear_conv.conv.'),
    (r'features\.1\.conv\.2\.', 'layer1.0.linear_conv.bn.'),
    *(
        (rf'features\.{index}\.conv\.{old}\.', f'layer{layer}.{block}.{new}.')
        for index, (layer, block) in enumerate(_PLACES, start=1)
        for old, new in (
            (r'0\.0', 'expand_conv.conv'),
            (r'0\.1', 'expand_conv.bn'),
            (r'1\.0', 'depthwise_conv.conv'),
            (r'1\.1', 'depthwise_conv.bn'),
            ('2', 'linear_conv.conv'),
            ('3', 'linear_conv.bn'),
        )
    ),
)
DETECTOR: Rules = (
    (r'backbone\.body\.', 'backbone.'),
    (r'backbone\.fpn\.inner_blocks\.(\d)\.(?:0\.)?', r'neck.lateral_convs.\1.conv.'),
    (r'backbone\.fpn\.layer_blocks\.(\d)\.(?:0\.)?', r'neck.fpn_convs.\1.conv.'),
    (r'rpn\.head\.conv\.(?:0\.0\.)?', 'rpn_head.rpn_conv.'),
    (r'rpn\.head\.cls_logits\.', 'rpn_head.rpn_cls.'),
    (r'rpn\.head\.bbox_pred\.', 'rpn_head.rpn_reg.'),
    (r'roi_heads\.box_head\.fc6\.', 'roi_head.bbox_head.shared_fcs.0.'),
    (r'roi_heads\.box_head\.fc7\.', 'roi_head.bbox_head.shared_fcs.1.'),
    (r'roi_heads\.box_predictor\.cls_score\.', 'roi_head.bbox_head.fc_cls.'),
    (r'roi_heads\.box_predictor\.bbox_pred\.', 'roi_head.bbox_head.fc_reg.'),
    (r'roi_heads\.mask_head\.(\d)\.0\.', r'roi_head.mask_head.convs.\1.conv.'),
    (r'roi_heads\.mask_predictor\.conv5_mask\.', 'roi_head.mask_head.upsample.'),
    (r'roi_heads\.mask_predictor\.mask_fcn_logits\.', 'roi_head.mask_head.conv_logits.'),
)


def convert(state_dict: Mapping[str, Tensor]) -> Conversion:
    """Rename, and move the background of detectors, which is torchvision's class 0, behind the other classes.

    Raises:
        InvalidValueError: if it is none of the models above.
    """
    if 'backbone.body.conv1.weight' in state_dict:
        conversion = rename(state_dict, DETECTOR)
        _move_background(conversion.state_dict)
        return conversion
    if 'layer1.0.conv1.weight' in state_dict:
        return rename(state_dict, RESNET)
    if 'features.1.conv.0.0.weight' in state_dict:
        return rename(state_dict, MOBILENET_V2)
    if 'features.0.weight' in state_dict:
        return rename(state_dict, VGG)
    raise InvalidValueError(
        'this is no torchvision model that has a counterpart here: known are ResNet, VGG, MobileNetV2 '
        f'and the Faster and Mask R-CNN on ResNet; the file starts with {sorted(state_dict)[:3]}'
    )


def _move_background(state_dict: dict[str, Tensor]) -> None:
    for name, tensor in state_dict.items():
        if '.fc_cls.' in name:
            state_dict[name] = torch.cat([tensor[1:], tensor[:1]])
        elif '.fc_reg.' in name:
            state_dict[name] = tensor[4:]
        elif '.conv_logits.' in name:
            state_dict[name] = tensor[1:]
