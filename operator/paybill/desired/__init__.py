"""Desired: pure builders of what should exist, one per object; every name and label is made here."""
