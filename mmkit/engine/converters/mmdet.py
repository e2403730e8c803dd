"""Names of tensors that differ between checkpoints of mmdetection 2.x and 3.x."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from torch import Tensor

from mmkit.engine.converters.rules import Conversion, Rules, rename
from mmkit.engine.mmengine import without_preprocessor

# The start of a name in 2.x and in 3.x; # stands for a number. The first that fits decides.
_RPN = (('rpn_head.', 'bbox_head.'),)
_TRANSFORMER = (
    ('bbox_head.transformer.encoder.layers.#.attentions.0.', 'encoder.layers.#.self_attn.'),
    ('bbox_head.transformer.decoder.layers.#.attentions.0.', 'decoder.layers.#.self_attn.'),
    ('bbox_head.transformer.decoder.layers.#.attentions.1.', 'decoder.layers.#.cross_attn.'),
    ('bbox_head.transformer.encoder.layers.#.ffns.0.', 'encoder.layers.#.ffn.'),
    ('bbox_head.transformer.decoder.layers.#.ffns.0.', 'decoder.layers.#.ffn.'),
    ('bbox_head.transformer.encoder.', 'encoder.'),
    ('bbox_head.transformer.decoder.', 'decoder.'),
    ('bbox_head.query_embedding.', 'query_embedding.'),
)
_DETR = (*_TRANSFORMER, ('bbox_head.input_proj.', 'neck.convs.0.conv.'))
_DEFORMABLE_DETR = (
    *_TRANSFORMER,
    ('bbox_head.transformer.level_embeds', 'level_embed'),
    ('bbox_head.transformer.reference_points.', 'reference_points_fc.'),
    ('bbox_head.transformer.enc_output.', 'memory_trans_fc.'),
    ('bbox_head.transformer.enc_output_norm.', 'memory_trans_norm.'),
    ('bbox_head.transformer.pos_trans.', 'pos_trans_fc.'),
    ('bbox_head.transformer.pos_trans_norm.', 'pos_trans_norm.'),
)
# Parts of detectors whose names of 3.x begin like those of DETR, and which 2.x does not have.
_ONLY_IN_V3 = ('dn_query_generator.', 'decoder.ref_point_head.', 'decoder.query_scale.')


def to_v3(state_dict: Mapping[str, Tensor]) -> Conversion:
    """Weights of 2.x under the names of 3.x; most are the same."""
    return _convert(state_dict, 0)


def to_v2(state_dict: Mapping[str, Tensor]) -> Conversion:
    """Weights of 3.x under the names of 2.x; those of detectors that 2.x does not have keep theirs."""
    return _convert(without_preprocessor(state_dict), 1)


def keep(state_dict: Mapping[str, Tensor]) -> Conversion:
    """The weights alone, without the wrapper of parallel training and averages."""
    return rename(state_dict, ((r'module\.', ''), (r'ema_', None), (r'', '')))


def _convert(state_dict: Mapping[str, Tensor], source: Literal[0, 1]) -> Conversion:
    """Rename from column `source` of the tables to the other."""
    weights = keep(state_dict)
    table = _table(weights.state_dict)
    rules: Rules = [(_pattern(row[source]), _replacement(row[1 - source])) for row in table]
    conversion = rename(weights.state_dict, (*rules, ('', '')))
    conversion.renamed = {new: weights.renamed[old] for new, old in conversion.renamed.items()}
    conversion.dropped = weights.dropped
    return conversion


def _table(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """The rows for the detector that has tensors of these names."""

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    if has(*_ONLY_IN_V3):
        return ()
    if has('rpn_head.rpn_', 'bbox_head.rpn_'):
        return () if has('roi_head.') else _RPN
    if has('level_embed', 'bbox_head.transformer.level_embeds'):
        return _DEFORMABLE_DETR
    return _DETR if has('query_embedding.', 'bbox_head.query_embedding.') else ()


def _pattern(start: str) -> str:
    return re.escape(start).replace(r'\#', r'(\d+)')


def _replacement(start: str) -> str:
    return start.replace('#', r'\1')
