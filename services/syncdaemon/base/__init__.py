"""What every other folder builds on: values, errors, units, files and tasks."""
