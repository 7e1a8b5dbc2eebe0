"""predictions.csv and the files that its rows name."""
