"""Clusters of nodes, by links and by what is known of the nodes."""
