"""Credits: who did what for whom, as signed accounts that anybody can recompute. Pure; time is passed in."""
