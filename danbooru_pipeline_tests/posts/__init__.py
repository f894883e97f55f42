"""Posts: typed from every dialect, and written back."""
