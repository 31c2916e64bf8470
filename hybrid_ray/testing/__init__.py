"""Contract checks and toy plugins, shipped so that third parties can test theirs."""
