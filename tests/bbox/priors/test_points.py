from __future__ import annotations

import pytest

from mmkit.bbox.priors import MlvlPointGenerator, PointGenerator


def test_points_lie_in_the_middle_of_cells() -> None:
    generator = MlvlPointGenerator(strides=[8, (16, 4)])
    first, second = generator.grid_priors([(2, 2), (1, 2)])
    assert first.tolist() == [[4, 4], [12, 4], [4, 12], [12, 12]]
    assert second.tolist() == [[8, 2], [24, 2]]
    assert generator.num_base_priors == [1, 1]
    assert generator.num_levels == 2


def test_points_with_stride_and_without_offset() -> None:
    generator = MlvlPointGenerator(strides=[8], offset=0)
    assert generator.grid_priors([(1, 2)], with_stride=True)[0].tolist() == [[0, 0, 8, 8], [8, 0, 8, 8]]
    assert generator.valid_flags([(2, 2)], (8, 16))[0].tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match='2 feature maps'):
        generator.grid_priors([(1, 1), (1, 1)])


def test_point_generator_carries_the_stride() -> None:
    generator = PointGenerator()
    assert generator.grid_points((1, 2), stride=4).tolist() == [[0, 0, 4], [4, 0, 4]]
    assert generator.valid_flags((2, 2), (2, 1)).tolist() == [True, False, True, False]
