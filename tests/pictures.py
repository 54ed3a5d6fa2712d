"""Whether pictures are whole."""

import matplotlib.pyplot as plt


def assert_whole(path):
    """Assert that nothing is drawn at the edge of a picture, where it would be cut off."""
    pixels = plt.imread(path)[..., :3]
    assert pixels.min() < 0.5, f"{path} is empty"
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert edge.min() == 1, f"{path} is cut off"
