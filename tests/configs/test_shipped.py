"""Every config in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmkit import Config

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.rglob('*.py')
    if path.relative_to(CONFIGS).parts[0] not in ('_base_', 'common')
)
FAMILIES = sorted({Path(name).parent.name for name in LEAVES})


@pytest.mark.parametrize('family', FAMILIES)
def test_configs_are_complete(family: str) -> None:
    """Each holds what training and testing need, and says itself which classes it knows."""
    for name in (leaf for leaf in LEAVES if leaf.startswith(f'{family}/')):
        cfg = Config.fromfile(str(CONFIGS / name))
        for key in ('model', 'data', 'optimizer', 'runner', 'checkpoint_config', 'log_config', 'workflow'):
            assert key in cfg, f'{name} has no {key}'
        assert 'type' in cfg.model, name
        assert {'train', 'val', 'test'} <= cfg.data.keys(), name


@pytest.mark.parametrize('path', sorted((CONFIGS / '_base_').rglob('*.py')), ids=lambda path: path.stem)
def test_shared_pieces_stand_alone(path: Path) -> None:
    assert len(Config.fromfile(str(path)).keys()) > 0


@pytest.mark.parametrize('family', FAMILIES)
def test_families_have_a_card(family: str) -> None:
    """What the family is, what was published, what was reproduced here."""
    card = (CONFIGS / family / 'README.md').read_text()
    assert '## Reproduced here' in card
    for name in (Path(leaf).name for leaf in LEAVES if leaf.startswith(f'{family}/')):
        assert name.removesuffix('.py') in card, f'{name} is not in the card of {family}'
    assert (CONFIGS / family / 'metafile.yml').exists()


def test_dumped_configs_load_back(tmp_path: Path) -> None:
    for name in ('faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py', 'yolox/yolox_s_8x8_300e_coco.py'):
        cfg = Config.fromfile(str(CONFIGS / name))
        cfg.dump(str(tmp_path / 'dumped.py'))
        assert dict(Config.fromfile(str(tmp_path / 'dumped.py'))) == dict(cfg)
