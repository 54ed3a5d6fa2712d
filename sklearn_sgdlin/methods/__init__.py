"""Solvers, one idea a file."""
