"""The `paybill` command, also `kubectl paybill`."""
