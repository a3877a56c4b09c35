"""What would a job do on these peers: a job file and described peers in, a plan and its figures out."""
