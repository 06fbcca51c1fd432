"""Decided: pure functions from what is declared and observed, and the time, to what should happen."""
