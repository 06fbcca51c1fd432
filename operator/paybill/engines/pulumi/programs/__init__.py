"""One module per cloud: a function ``describe(stack: Stack) -> Handed`` that declares a tenant's resources.

``stack.py`` is what they share. Each imports only its own cloud's SDK, because each SDK costs seconds to load.
"""
