"""How good it is: metrics, intervals, significance, plots, the report."""
