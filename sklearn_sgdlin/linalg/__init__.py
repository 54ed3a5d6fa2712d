"""Linear algebra that knows nothing of regression."""
