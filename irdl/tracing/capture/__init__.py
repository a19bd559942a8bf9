"""What a traced function reads from outside."""
