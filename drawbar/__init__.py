"""drawbar: workers pull jobs, run them in supervised processes, and report back."""
