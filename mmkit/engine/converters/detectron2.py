"""Models of detectron2: ImageNet backbones of its model zoo, Faster, Mask and Cascade R-CNN, RetinaNet backbones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmkit.engine.converters.rules import Conversion, Rules, rename
from mmkit.errors import InvalidValueError
from mmkit.utils.pickles import load_arrays

# `res2` is `layer1`, and so on; a block is conv1, conv2, conv3 and shortcut, each with a norm inside.
_BLOCKS: Rules = (
    *((rf'\bres{n}\.', f'layer{n - 1}.') for n in range(2, 6)),
    (r'\bstem\.conv1\.norm\.', 'bn1.'),
    (r'\bstem\.conv1\.', 'conv1.'),
    (r'\.conv(\d)\.norm\.', r'.bn\1.'),
    (r'\.shortcut\.norm\.', '.downsample.1.'),
    (r'\.shortcut\.', '.downsample.0.'),
)
BACKBONE: Rules = ((r'stem\.fc\.', None), (r'(stem|res\d)\.', r'\1.'))
DETECTOR: Rules = (
    (r'(pixel_mean|pixel_std|anchor_generator|proposal_generator\.anchor_generator)', None),
    (r'backbone\.bottom_up\.', 'backbone.'),
    (r'backbone\.fpn_lateral(\d)\.', r'neck.lateral_convs.LEVEL\1.conv.'),
    (r'backbone\.fpn_output(\d)\.', r'neck.fpn_convs.LEVEL\1.conv.'),
    (r'proposal_generator\.rpn_head\.conv\.', 'rpn_head.rpn_conv.'),
    (r'proposal_generator\.rpn_head\.objectness_logits\.', 'rpn_head.rpn_cls.'),
    (r'proposal_generator\.rpn_head\.anchor_deltas\.', 'rpn_head.rpn_reg.'),
    (r'roi_heads\.box_head\.fc1\.', 'roi_head.bbox_head.shared_fcs.0.'),
    (r'roi_heads\.box_head\.fc2\.', 'roi_head.bbox_head.shared_fcs.1.'),
    (r'roi_heads\.box_predictor\.cls_score\.', 'roi_head.bbox_head.fc_cls.'),
    (r'roi_heads\.box_predictor\.bbox_pred\.', 'roi_head.bbox_head.fc_reg.'),
    (r'roi_heads\.box_head\.(\d)\.fc1\.', r'roi_head.bbox_head.\1.shared_fcs.0.'),
    (r'roi_heads\.box_head\.(\d)\.fc2\.', r'roi_head.bbox_head.\1.shared_fcs.1.'),
    (r'roi_heads\.box_predictor\.(\d)\.cls_score\.', r'roi_head.bbox_head.\1.fc_cls.'),
    (r'roi_heads\.box_predictor\.(\d)\.bbox_pred\.', r'roi_head.bbox_head.\1.fc_reg.'),
    *((rf'roi_heads\.mask_head\.mask_fcn{n}\.', f'roi_head.mask_head.convs.{n - 1}.conv.') for n in range(1, 9)),
    (r'roi_heads\.mask_head\.deconv\.', 'roi_head.mask_head.upsample.'),
    (r'roi_heads\.mask_head\.predictor\.', 'roi_head.mask_head.conv_logits.'),
)
_LEVELS: Rules = tuple((rf'\.LEVEL{n}\.', f'.{n - 2}.') for n in range(2, 6))
# Caffe2's names, in the ImageNet files called R-50.pkl: res2_0_branch2a_w, res_conv1_bn_s, ...
_CAFFE2_LETTERS = {'a': 1, 'b': 2, 'c': 3}
CAFFE2: Rules = (
    (r'(fc1000|pred|lr|conv1_b)', None),
    (r'.*momentum', None),
    (r'conv1_w', 'conv1.weight'),
    (r'res_conv1_bn_s', 'bn1.weight'),
    (r'res_conv1_bn_b', 'bn1.bias'),
    *(
        (rf'res{stage}_(\d+)_branch2{letter}_{old}$', rf'layer{stage - 1}.\1.{new.format(number)}')
        for stage in range(2, 6)
        for letter, number in _CAFFE2_LETTERS.items()
        for old, new in (('w', 'conv{}.weight'), ('bn_s', 'bn{}.weight'), ('bn_b', 'bn{}.bias'))
    ),
    *(
        (rf'res{stage}_(\d+)_branch1_{old}$', rf'layer{stage - 1}.\1.downsample.{new}')
        for stage in range(2, 6)
        for old, new in (('w', '0.weight'), ('bn_s', '1.weight'), ('bn_b', '1.bias'))
    ),
)


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The arrays of a detectron2 `.pkl`; nothing in the file is executed.

    Raises:
        InvalidValueError: if it holds anything but arrays in dicts.
    """
    content = load_arrays(path)
    content = content.get('model', content.get('blobs', content)) if isinstance(content, dict) else content
    if not isinstance(content, dict):
        raise InvalidValueError(f'{path} holds a {type(content).__name__}, expected a dict of arrays')
    return {name: torch.from_numpy(np.array(v)) for name, v in content.items() if isinstance(v, np.ndarray)}


def convert(state_dict: Mapping[str, Tensor]) -> Conversion:
    """Rename; where Caffe2 has folded statistics into scale and bias, add means of 0 and variances of 1."""
    if 'conv1_w' in state_dict:
        conversion = rename(state_dict, CAFFE2)
        for name, tensor in list(conversion.state_dict.items()):
            if '.bn' in f'.{name}' or '.downsample.1.' in name:
                stem, _, kind = name.rpartition('.')
                if kind == 'weight':
                    conversion.state_dict[f'{stem}.running_mean'] = torch.zeros_like(tensor)
                    conversion.state_dict[f'{stem}.running_var'] = torch.ones_like(tensor)
        return conversion
    if any(name.startswith('backbone.') for name in state_dict):
        return rename(state_dict, DETECTOR, (*_BLOCKS, *_LEVELS))
    return rename(state_dict, BACKBONE, _BLOCKS)
