"""The order of the examples in the gallery."""

ORDER = [
    "quickstart.py",
    "plot_learning_rate.py",
    "plot_ideas.py",
    "plot_loss_curve.py",
    "grid_search.py",
    "early_stopping_on_time.py",
    "plot_drift.py",
    "out_of_core.py",
]


class ReadingOrder:
    """Sorts examples as a newcomer reads them; those that are not listed come last."""

    def __init__(self, src_dir):
        pass

    def __call__(self, filename):
        """Return what to sort by."""
        return (ORDER.index(filename) if filename in ORDER else len(ORDER), filename)
