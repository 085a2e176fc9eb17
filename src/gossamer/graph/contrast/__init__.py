"""Clusters of nodes whose features are learnt by contrast with their neighbours."""
