"""Driven: per kind read, decide, act, report; the queue that orders the work."""
