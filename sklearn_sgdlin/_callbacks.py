"""scikit-learn's callbacks during a fit: one task for the fit, one subtask an epoch."""


class FitTasks:
    """Tells the callbacks of an estimator where its fit is; silent where there are none.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext or None
        Of the fit; None where there are no callbacks, and nothing costs anything.
    estimator : estimator
    X : callable
        Returns the rows learned from; called if a callback asks for them.
    y : ndarray of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,) or None
    """

    def __init__(self, context, estimator, X, y, sample_weight):
        self.context = context
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.epoch = None

    def begin(self):
        """The fit begins."""
        if self.context:
            self.context.call_on_fit_task_begin(**self.data)

    def begin_epoch(self):
        """An epoch begins."""
        if self.context:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.data)

    def end_epoch(self, attributes):
        """Return whether a callback wants the fit to stop here.

        `attributes` returns the fitted attributes of the model as if it did; called if a
        callback asks for the fitted estimator.
        """
        return self.context and self.epoch.call_on_fit_task_end(
            **self.data, reconstruction_attributes=attributes
        )

    def end(self):
        """The fit ends; the estimator is fitted."""
        if self.context:
            self.context.call_on_fit_task_end(**self.data, reconstruction_attributes={})
