"""Our own scikit-learn estimators; imported only when a model is built or loaded, because they need scikit-learn."""
