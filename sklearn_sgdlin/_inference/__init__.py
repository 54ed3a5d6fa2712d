"""Covariance of estimated coefficients: from products of columns, or from passes over the rows."""
