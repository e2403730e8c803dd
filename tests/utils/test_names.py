from mmkit.utils.names import nearest


def test_nearest_first_and_case_ignored():
    assert nearest('resnet', ['FPN', 'ResNet', 'ResNeXt', 'ResNetV1d'], 2) == ['ResNet', 'ResNeXt']


def test_nothing_alike():
    assert nearest('zzz', ['a', 'b']) == [] == nearest('a', [])


def test_keys_that_are_not_text():
    assert nearest(10, [1, 100]) == ['100', '1']
