"""Declared: what users write. One file per kind; the CRDs are generated from here; imports nothing else of ours."""
