"""Which zeros are allowed."""
