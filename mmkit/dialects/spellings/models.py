"""Spellings of detectors and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmkit.dialects.spellings.queries import QUERIES
from mmkit.dialects.spellings.spelling import Spelling, read_v3
from mmkit.utils.names import unscoped

MODELS: Mapping[str, Spelling] = {**QUERIES}


def is_v3_model(model: Mapping[str, Any]) -> bool:
    """True for the config of a model of 3.x: it has a data preprocessor that is not one of mmkit's own."""
    preprocessor = model.get('data_preprocessor')
    if not isinstance(preprocessor, Mapping):
        return False
    return unscoped(str(preprocessor.get('type', 'DetDataPreprocessor'))) != 'DataPreprocessor'


def neutral_model(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a model in the neutral spelling; one of 2.x is returned as it is."""
    neutral: Mapping[str, Any] = read_v3(model, MODELS) if is_v3_model(model) else model
    return neutral
