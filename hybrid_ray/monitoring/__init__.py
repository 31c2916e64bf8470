"""Whether it still holds: drift tests and windows."""
