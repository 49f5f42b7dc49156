"""Where runs execute. An engine takes a job and hands back its record, whatever becomes of the process that did it."""
