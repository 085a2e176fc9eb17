"""Linear models and labels on graphs, fitted by block coordinate descent."""
