"""One bucket's truth: its ledger and journal, the plan of what is left to do, and the work on its files."""
