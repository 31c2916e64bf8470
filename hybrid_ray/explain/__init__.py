"""Why it says so: attributions."""
