"""A training that is described in the dialect of 3.x."""

from mmkit.dialects import Overrides, override, read_recipe
from mmkit.engine.assemble import assemble, require_training
from tests.tiny import make_dataset, tiny_config_v3


def test_a_training_in_the_dialect_of_3x(tmp_path, caplog):
    cfg = tiny_config_v3(make_dataset(tmp_path / 'data'))
    override(cfg, Overrides(work_dir=str(tmp_path / 'work'), seed=0, device='cpu'))
    recipe = read_recipe(cfg)
    runner, loaders = assemble(recipe)
    assert 'mmdetection 3.x' in caplog.text
    runner.run(loaders, require_training(recipe).turns)
    assert runner.epoch == 2 and {'epoch_2.pth'} <= {path.name for path in (tmp_path / 'work').iterdir()}
    assert any(name.name.startswith('best_coco_bbox_mAP') for name in (tmp_path / 'work').iterdir())
