"""Networks, their description and files, and prediction with them."""
