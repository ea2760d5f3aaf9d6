"""What several pages share: the frame, fields, cached readers, tables and the player."""
