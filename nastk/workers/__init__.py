"""Candidates tried in other processes: what is sent, who does it, and what comes of losses."""
