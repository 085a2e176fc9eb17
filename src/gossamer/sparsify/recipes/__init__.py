"""Plans of pruning and training in turns."""
