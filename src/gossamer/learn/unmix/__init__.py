"""Unmixing of spectra: endmembers, abundances, and scenes to try it on."""
