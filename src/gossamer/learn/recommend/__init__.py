"""Fill in and recommend: estimators on incomplete matrices."""
