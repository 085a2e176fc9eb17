"""Zeros that move while a network is trained: masks, and tables that store what is live alone."""
