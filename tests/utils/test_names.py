from mmkit.utils.names import first_of, nearest, suggestion


def test_nearest_first_and_case_ignored():
    assert nearest('resnet', ['FPN', 'ResNet', 'ResNeXt', 'ResNetV1d'], 2) == ['ResNet', 'ResNeXt']


def test_nothing_alike():
    assert nearest('zzz', ['a', 'b']) == [] == nearest('a', [])


def test_keys_that_are_not_text():
    assert nearest(10, [1, 100]) == ['100', '1']


def test_a_suggestion_is_empty_if_nothing_is_alike():
    assert suggestion('bbx', ['bbox', 'segm']) == ", did you mean 'bbox'?"
    assert suggestion('zzz', ['bbox', 'segm']) == ''


def test_the_first_of_many_names():
    assert first_of(['a', 'b', 3], 2) == 'a, b, ...'
    assert first_of(['a', 'b'], 2) == 'a, b' and first_of([], 2) == ''
