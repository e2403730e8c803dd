"""RepVGG as its authors publish it (github.com/DingXiaoH/RepVGG), in the form of training or deployed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmkit.engine.converters.rules import Conversion, Rules, rename

RULES: Rules = (
    (r'(module\.)?linear\.', None),
    (r'(module\.)?stage0\.', 'stem.'),
    (r'(module\.)?stage([1-4])\.', r'stage_\2.'),
)
PARTS: Rules = (
    *(
        (rf'\.rbr_{old}\.{layer}\.', f'.branch_{new}.{name}.')
        for old, new in (('dense', '3x3'), ('1x1', '1x1'))
        for layer, name in (('conv', 'conv'), ('bn', 'norm'))
    ),
    (r'\.rbr_identity\.', '.branch_norm.'),
    (r'\.rbr_reparam\.', '.branch_reparam.'),
    (r'\.se\.down\.', '.se_layer.conv1.conv.'),
    (r'\.se\.up\.', '.se_layer.conv2.conv.'),
)


def convert(state_dict: Mapping[str, Tensor]) -> Conversion:
    return rename(state_dict, RULES, PARTS)
