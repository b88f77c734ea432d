"""What a served model is compared with; pure, counted from by ``serving``."""
