"""The search as plain functions: candidates, folds, fits, ensembles. Ray carries them from on_ray/search.py."""
