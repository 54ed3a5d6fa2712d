"""The course of a fit: what each epoch reports, and the epoch whose model is returned."""

from ._early_stopping import no_longer_rises


class History:
    """Grows by an epoch at a time.

    Parameters
    ----------
    tol, n_iter_no_change
        When the scores count as no longer rising.

    Attributes
    ----------
    losses, rates, scores : list of float
        One an epoch; `scores` stays empty without validation data.
    last, best : Epoch
        The epoch just run; the one of the highest score, the last one if there are none.
    stop_reason : str or None
        None as long as training goes on.
    """

    def __init__(self, tol, n_iter_no_change):
        self.tol, self.n_iter_no_change = tol, n_iter_no_change
        self.losses, self.rates, self.scores = [], [], []
        self.last = self.best = self.stop_reason = None

    def add(self, epoch, score=None):
        """Take in an epoch, with its score on validation data if there are any."""
        self.losses.append(epoch.loss)
        self.rates.append(epoch.rate)
        self.last, self.stop_reason = epoch, epoch.stop_reason
        if score is None:
            self.best = epoch
            return
        if not self.scores or score > max(self.scores):
            self.best = epoch
        self.scores.append(score)
        if no_longer_rises(self.scores, self.tol, self.n_iter_no_change):
            self.stop_reason = "early_stopping"

    def state(self):
        """The best model, after all rows seen."""
        return self.best.state.after(self.last.state.rows_seen)

    def line(self, seconds):
        """The last epoch in a short line; lines align, also where a number is 1e-300."""
        score = f"  validation {self.scores[-1]:13.6g}" if self.scores else ""
        epoch = self.last
        return (
            f"epoch {epoch.number:5d}  rate {epoch.rate:9.3g}  loss {epoch.loss:12.6g}"
            f"{score}  {seconds:8.2f} s"
        )
