"""What comes in: bodies, the forms and files in them, and how long they may take."""
