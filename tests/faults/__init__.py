"""What is promised, shown while things go wrong: processes and databases that die, disks, clocks and requests that are odd."""
