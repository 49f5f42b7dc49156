"""What is run and in which order: calibration, and the budgets that follow from it."""
