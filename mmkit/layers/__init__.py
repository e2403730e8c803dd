"""Layers and blocks that models share, and their initialisation."""

from mmkit.layers.activation import build_activation_layer
from mmkit.layers.attention import Attention, MultiheadAttention, Sampling
from mmkit.layers.base_module import BaseModule, ModuleList, Sequential, init_children
from mmkit.layers.context_block import ContextBlock
from mmkit.layers.conv import build_conv_layer, build_padding_layer
from mmkit.layers.conv_module import ConvModule, DepthwiseSeparableConvModule, LayerCfgs
from mmkit.layers.deform_conv import DeformConv, DeformConv2d, DeformConv2dPack, ModulatedDeformConv2dPack
from mmkit.layers.deformable_attention import MultiScaleDeformableAttention
from mmkit.layers.drop import DropBlock, Dropout, DropPath, build_dropout
from mmkit.layers.generalized_attention import GeneralizedAttention
from mmkit.layers.init import (
    InitCfg,
    bias_init_with_prob,
    caffe2_xavier_init,
    constant_init,
    initialize,
    kaiming_init,
    normal_init,
    trunc_normal_init,
    uniform_init,
    xavier_init,
)
from mmkit.layers.linear import NormedConv2d, NormedLinear, Scale, build_linear_layer
from mmkit.layers.non_local import NonLocal2d
from mmkit.layers.norm import build_norm_layer, freeze, freeze_batch_norm
from mmkit.layers.plugin import build_plugin_layer
from mmkit.layers.positional_encoding import LearnedPositionalEncoding, SinePositionalEncoding
from mmkit.layers.pretrained import load_matching
from mmkit.layers.transformer import FFN, BaseTransformerLayer, TransformerLayerSequence
from mmkit.layers.upsample import build_upsample_layer

__all__ = [
    'FFN',
    'Attention',
    'BaseModule',
    'BaseTransformerLayer',
    'ContextBlock',
    'ConvModule',
    'DeformConv',
    'DeformConv2d',
    'DeformConv2dPack',
    'DepthwiseSeparableConvModule',
    'DropBlock',
    'DropPath',
    'Dropout',
    'InitCfg',
    'LayerCfgs',
    'LearnedPositionalEncoding',
    'ModulatedDeformConv2dPack',
    'ModuleList',
    'MultiScaleDeformableAttention',
    'MultiheadAttention',
    'NonLocal2d',
    'NormedConv2d',
    'NormedLinear',
    'Sampling',
    'Scale',
    'Sequential',
    'SinePositionalEncoding',
    'TransformerLayerSequence',
    'bias_init_with_prob',
    'build_activation_layer',
    'build_conv_layer',
    'build_dropout',
    'build_linear_layer',
    'build_norm_layer',
    'build_padding_layer',
    'build_plugin_layer',
    'build_upsample_layer',
    'caffe2_xavier_init',
    'constant_init',
    'freeze',
    'freeze_batch_norm',
    'init_children',
    'initialize',
    'kaiming_init',
    'load_matching',
    'normal_init',
    'trunc_normal_init',
    'uniform_init',
    'xavier_init',
]
