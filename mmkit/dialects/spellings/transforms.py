"""Spellings of transforms."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.dialects.spellings.spelling import Spelling

TRANSFORMS: Mapping[str, Spelling] = {
    'Resize': Spelling(renamed={'scale': 'img_scale'}, defaults={'keep_ratio': (False, True)}),
    'RandomFlip': Spelling(renamed={'prob': 'flip_ratio'}),
}
