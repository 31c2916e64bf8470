"""What is kept: feature cache, fit ledger, artifacts, registry."""
