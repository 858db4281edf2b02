"""What each reference's parameters mean here: one file per family of recorded cases."""
