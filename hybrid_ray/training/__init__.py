"""The one training loop of extractors that are networks: on one worker or several, resumable, and what it needs."""
