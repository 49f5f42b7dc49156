"""Where runs execute: processes of this machine, or a Ray cluster."""
