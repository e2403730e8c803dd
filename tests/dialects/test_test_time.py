from __future__ import annotations

from dataclasses import replace

import pytest

from mmkit.config import ConfigDict
from mmkit.dialects.recipe import LoaderRecipe, Recipe, TTARecipe
from mmkit.dialects.test_time import augmented, find_pipeline
from mmkit.errors import ConfigError

PIPELINE = [ConfigDict(type='LoadImageFromFile'), ConfigDict(type='PackDetInputs', meta_keys=('img_id',))]


def make_recipe(dataset, tta=None, dialect=3):
    nothing = LoaderRecipe(None)
    return Recipe(None, nothing, nothing, LoaderRecipe(dataset), tta=tta, dialect=dialect)


def test_the_pipeline_of_a_dataset_in_others():
    inner = {'type': 'CocoDataset', 'pipeline': PIPELINE}
    assert find_pipeline({'type': 'ConcatDataset', 'datasets': [inner, {'pipeline': []}]}) is PIPELINE
    assert find_pipeline([{'type': 'RepeatDataset', 'dataset': inner}]) is PIPELINE
    assert find_pipeline({'type': 'CocoDataset'}) is find_pipeline(None) is None


def test_the_views_of_the_config_stand_in_for_the_pipelines():
    tta = TTARecipe([ConfigDict(type='TestTimeAug')], ConfigDict(type='nms', iou_threshold=0.6), 7)
    inner = ConfigDict(type='CocoDataset', pipeline=PIPELINE)
    recipe = make_recipe(ConfigDict(type='ConcatDataset', datasets=[inner, inner]), tta)
    seen = augmented(recipe)
    assert [part.pipeline for part in seen.test.dataset.datasets] == [[{'type': 'TestTimeAug'}]] * 2
    assert seen.tta is tta
    assert inner.pipeline == PIPELINE, 'the recipe stays as it is'


def test_without_views_in_the_config_images_are_mirrored(caplog):
    caplog.set_level('INFO')
    recipe = make_recipe(ConfigDict(type='CocoDataset', pipeline=PIPELINE))
    seen = augmented(recipe)
    load, views = seen.test.dataset.pipeline
    assert load == PIPELINE[0]
    assert views.transforms == [
        [{'type': 'RandomFlip', 'flip_ratio': 1.0}, {'type': 'RandomFlip', 'flip_ratio': 0.0}],
        [PIPELINE[1]],
    ]
    assert (seen.tta.nms, seen.tta.max_per_img) == ({'type': 'nms', 'iou_threshold': 0.5}, 100)
    assert 'the config has no tta_pipeline' in caplog.text


def test_mistakes():
    recipe = make_recipe({'type': 'CocoDataset', 'pipeline': PIPELINE})
    with pytest.raises(ConfigError, match='a config of 2.x says its views in MultiScaleFlipAug'):
        augmented(replace(recipe, dialect=2))
    for dataset in (None, {'type': 'CocoDataset', 'pipeline': PIPELINE[:1]}):
        with pytest.raises(ConfigError, match="has no 'tta_pipeline'"):
            augmented(make_recipe(dataset))
