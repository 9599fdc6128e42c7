"""What all suites share: result files, statistics, tables and plots.  Standard library only."""
