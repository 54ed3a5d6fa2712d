"""What is told of a fit: its history epoch by epoch, and scikit-learn's callbacks.

The curve of a stream, which may be endless, gets coarser as it grows.
"""

from ._early_stopping import no_longer_improves

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9 there are no callbacks

    class CallbackSupportMixin:
        """What an estimator with callbacks derives from, where there are none."""


class History:
    """The history of a fit: losses, rates and scores, one an epoch.

    `tol` and `n_iter_no_change` say when scores count as no longer improving.
    """

    def __init__(self, tol, n_iter_no_change):
        self.tol, self.n_iter_no_change = tol, n_iter_no_change
        self.losses, self.rates = [], []  # a rate is 0.0 where an epoch took no steps of SGD
        self.scores = []  # stays empty without validation data
        self.last = self.best = None  # the epoch just run, and that of the highest score
        self.stop_reason = None  # as long as training goes on

    def add(self, epoch, score=None):
        """Take in an epoch, with its score on validation data if there are any."""
        self.losses.append(epoch.loss)
        self.rates.append(epoch.rate or 0.0)
        self.last, self.stop_reason = epoch, epoch.stop_reason
        if score is None:
            self.best = epoch
            return
        if not self.scores or score > max(self.scores):
            self.best = epoch
        self.scores.append(score)
        if no_longer_improves(self.scores, self.tol, self.n_iter_no_change):
            self.stop_reason = "early_stopping"

    def state(self):
        """Return the state of the best model, after all rows seen."""
        return self.best.state.as_late_as(self.last.state)

    def line(self, seconds):
        """Return the last epoch as a line of text; lines align, also where a number is 1e-300."""
        score = f"  validation {self.scores[-1]:13.6g}" if self.scores else ""
        epoch = self.last
        rate = f"rate {epoch.rate:9.3g}  " if epoch.rate is not None else ""
        return f"epoch {epoch.number:5d}  {rate}loss {epoch.loss:12.6g}{score}  {seconds:8.2f} s"


def chunks_per_point(n_chunks, max_points):
    """Return how many chunks of a stream each point of its curve stands for, a power of 2."""
    return 1 << (max(n_chunks - 1, 0) // max_points).bit_length()


def with_chunk(losses, rates, number, loss, rate, max_points):
    """Return the curves of a stream with the loss and rate of its next chunk, as new lists.

    A point is the mean loss of some chunks, and the rate of the last of them; no rates stand for
    rates of 0. Chunks are numbered from 1. There are at most `max_points`, an even number.
    """
    per_point = chunks_per_point(number, max_points)
    if per_point > chunks_per_point(number - 1, max_points):  # full: neighbours become one
        losses = [a / 2 + b / 2 for a, b in zip(losses[::2], losses[1::2], strict=True)]
        rates = rates[1::2]
    n_before = (number - 1) % per_point  # chunks that the last point stands for, of its number
    if n_before == 0:
        return [*losses, loss], [*rates, rate]
    share, losses = 1 / (n_before + 1), losses.copy()
    losses[-1] = losses[-1] * (1 - share) + loss * share
    return losses, [*rates[:-1], rate]


def last_chunks(n_chunks, max_points):
    """Return the number of the last chunk that each point of the curve of a stream stands for."""
    per_point = chunks_per_point(n_chunks, max_points)
    return [min(first + per_point, n_chunks) for first in range(0, n_chunks, per_point)]


class FitTasks:
    """Tells the callbacks of an estimator where its fit is, which begins with this object.

    Without callbacks, the context is None and nothing happens. X is a function that returns the
    rows learned from.
    """

    def __init__(self, context, estimator, X, y, sample_weight):
        self.context = context
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        if context:
            context.call_on_fit_task_begin(**self.data)

    def begin_epoch(self):
        """An epoch begins."""
        if self.context:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.data)

    def end_epoch(self, attributes):
        """Return whether a callback wants the fit to stop here.

        `attributes` returns the fitted attributes of the model as if it did.
        """
        return self.context and self.epoch.call_on_fit_task_end(
            **self.data, reconstruction_attributes=attributes
        )

    def end(self):
        """The fit ends; the estimator is fitted."""
        if self.context:
            self.context.call_on_fit_task_end(**self.data, reconstruction_attributes={})
