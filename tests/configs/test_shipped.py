"""Every config in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmkit import Config
from mmkit.datasets import build_dataset

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.rglob('*.py')
    if path.relative_to(CONFIGS).parts[0] not in ('_base_', 'common', 'mmpretrain')
)
KEYS_OF_V2 = ('model', 'data', 'optimizer', 'runner', 'checkpoint_config', 'log_config', 'workflow')
KEYS_OF_V3 = ('model', 'train_dataloader', 'test_dataloader', 'optim_wrapper', 'train_cfg', 'default_hooks')
FAMILIES = sorted({Path(name).parent.name for name in LEAVES})


@pytest.mark.parametrize('family', FAMILIES)
def test_configs_are_complete(family: str) -> None:
    """Each holds what training and testing need, in one of the two dialects."""
    for name in (leaf for leaf in LEAVES if leaf.startswith(f'{family}/')):
        cfg = Config.fromfile(str(CONFIGS / name))
        is_v3 = 'train_dataloader' in cfg
        for key in KEYS_OF_V3 if is_v3 else KEYS_OF_V2:
            assert key in cfg, f'{name} has no {key}'
        assert 'type' in cfg.model, name
        assert is_v3 or {'train', 'val', 'test'} <= cfg.data.keys(), name


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('_base_/**/*.py')), ids=lambda path: path.stem)
def test_shared_pieces_stand_alone(path: Path) -> None:
    assert len(Config.fromfile(str(path)).keys()) > 0


@pytest.mark.parametrize('family', FAMILIES)
def test_families_have_a_card(family: str) -> None:
    """A description, the published figures and those reproduced here."""
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


@pytest.fixture(scope='module')
def tiny_coco(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Six images with boxes, polygons, semantic maps and proposals, as arguments of a dataset."""
    folder = tmp_path_factory.mktemp('coco')
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(6):
        height, width = (40, 60) if number % 2 else (60, 40)
        cv2.imwrite(str(folder / f'{number}.jpg'), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        cv2.imwrite(str(folder / f'{number}.png'), rng.integers(0, 180, (height, width), dtype=np.uint8))
        images.append(dict(id=number, file_name=f'{number}.jpg', height=height, width=width))
        corners = [5, 5, 30, 5, 30, 35, 5, 35]
        annotations.append(
            dict(id=number + 1, image_id=number, category_id=1, bbox=[5, 5, 25, 30], segmentation=[corners])
        )
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')])
    (folder / 'ann.json').write_text(json.dumps(content))
    (folder / 'proposals.json').write_text(json.dumps([[[1, 1, 20, 20, 0.5]]] * 6))
    return dict(
        ann_file=str(folder / 'ann.json'),
        img_prefix=str(folder),
        seg_prefix=str(folder),
        proposal_file=str(folder / 'proposals.json'),
    )


def moved(data: Any, files: dict[str, str]) -> Any:
    """A config of a dataset with other files."""
    if isinstance(data, list):
        return [moved(part, files) for part in data]
    if 'ann_file' in data:
        return {**data, **{key: value for key, value in files.items() if key in data}}
    return {key: moved(value, files) if key == 'dataset' else value for key, value in data.items()}


@pytest.mark.parametrize('family', FAMILIES)
def test_data_become_samples(family: str, tiny_coco: dict[str, str]) -> None:
    """Every transform that a config names exists and works."""
    done: list[Any] = []
    for name in (leaf for leaf in LEAVES if leaf.startswith(f'{family}/')):
        cfg = Config.fromfile(str(CONFIGS / name))
        if 'train_dataloader' in cfg:
            continue
        for split in ('train', 'test'):
            data = moved(cfg.data[split], tiny_coco)
            if data in done or 'classes' in str(data) or 'data_prefix' in data:  # other files, tested elsewhere
                continue
            done.append(data)
            dataset = build_dataset(data, {'test_mode': split == 'test'})
            assert len(dataset) >= 6, name
            sample = dataset[1]
            first = sample[0] if isinstance(sample, list) else sample
            assert first.img.shape[0] == 3 and (split == 'test' or first.gt is not None), name
