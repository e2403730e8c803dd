"""YOLOX as its authors publish it (github.com/Megvii-BaseDetection/YOLOX)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmkit.engine.converters.rules import Conversion, Rules, rename

RULES: Rules = (
    (r'backbone\.backbone\.stem\.', 'backbone.stem.'),
    (r'backbone\.backbone\.dark2\.', 'backbone.stage1.'),
    (r'backbone\.backbone\.dark3\.', 'backbone.stage2.'),
    (r'backbone\.backbone\.dark4\.', 'backbone.stage3.'),
    # The last stage has a pyramid pooling in between, whose two convolutions keep their names.
    (r'backbone\.backbone\.dark5\.1\.conv', 'backbone.stage4.1.CONV'),
    (r'backbone\.backbone\.dark5\.', 'backbone.stage4.'),
    (r'backbone\.lateral_conv0\.', 'neck.reduce_layers.0.'),
    (r'backbone\.reduce_conv1\.', 'neck.reduce_layers.1.'),
    (r'backbone\.C3_p4\.', 'neck.top_down_blocks.0.'),
    (r'backbone\.C3_p3\.', 'neck.top_down_blocks.1.'),
    (r'backbone\.bu_conv2\.', 'neck.downsamples.0.'),
    (r'backbone\.bu_conv1\.', 'neck.downsamples.1.'),
    (r'backbone\.C3_n3\.', 'neck.bottom_up_blocks.0.'),
    (r'backbone\.C3_n4\.', 'neck.bottom_up_blocks.1.'),
    (r'head\.stems\.', 'neck.out_convs.'),
    (r'head\.(cls|reg)_convs\.', r'bbox_head.multi_level_\1_convs.'),
    (r'head\.(cls|reg|obj)_preds\.', r'bbox_head.multi_level_conv_\1.'),
)
PARTS: Rules = (
    (r'\.dconv\.', '.depthwise_conv.'),
    (r'\.pconv\.', '.pointwise_conv.'),
    (r'((?:stage\d\.\d|blocks\.\d)\.)conv1\.(conv|bn)', r'\1main_conv.\2'),
    (r'((?:stage\d\.\d|blocks\.\d)\.)conv2\.(conv|bn)', r'\1short_conv.\2'),
    (r'((?:stage\d\.\d|blocks\.\d)\.)conv3\.(conv|bn)', r'\1final_conv.\2'),
    (r'\.m\.(\d+)\.', r'.blocks.\1.'),
    (r'\.CONV', '.conv'),
)


def convert(state_dict: Mapping[str, Tensor]) -> Conversion:
    return rename(state_dict, RULES, PARTS)
